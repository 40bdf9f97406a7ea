"""All settings, as one frozen object that is built once when a command starts.

Precedence, highest first: command-line options, environment variables
(`DAMOSCOPE_<NAME>`), the file `damoscope.toml` in the working folder, defaults.
The OpenTelemetry SDK's own variables (`OTEL_*`) are checked by `telemetry.variables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from models import BUNDLED
from pipeline import machine
from pipeline.errors import ConfigurationError
from pipeline.setting_readers import (
    EVERY,
    FRONTEND,
    FRONTEND_AND_WORKER,
    MODEL_COMMAND,
    READERS,
    UP,
    UP_AND_FRONTEND,
    UP_AND_READERS,
    UP_AND_WORKER,
    WATCHER,
    WORKER,
    WORKER_AND_WATCHER,
    Process,
    ReadBy,
)
from pipeline.setting_values import (
    WORKERS_MAX,
    ImageHosts,
    MirrorUrl,
    ModelName,
    Networks,
    Origins,
    Rate,
    ServiceUrl,
    SigningSecret,
    WorkersByModel,
    workers_by_model,
)
from pipeline.tiles import TILES_MOST

CONFIG_FILE: Final = "damoscope.toml"
PREFIX: Final = "DAMOSCOPE_"


def _data_folder() -> Path:
    """`var` of the checkout that this code runs from, else the platform's folder."""
    folder = Path(__file__).resolve().parent.parent
    if (folder / "pyproject.toml").is_file():
        return folder / "var"
    from platformdirs import user_data_path  # imported here: a checkout does without

    return Path(user_data_path("damoscope", appauthor=False))


Provider = Literal["auto", "cuda", "tensorrt", "cpu"]
#: What is kept of an image once it is answered.
Kept = Literal["none", "thumbnails", "full"]
#: The first setting of each section of the documentation, which ends where the next begins.
SECTIONS = {
    "home": "Where things are",
    "keys_file": "Who may do what",
    "model": "The model and who runs it",
    "max_upload_bytes": "What a request may ask for",
    "queue_max": "The queue",
    "keep_images": "Pictures in traces",
    "telemetry_days": "Telemetry and logs",
    "alerts": "Alerts, notifications, reports",
}


class Settings(BaseSettings):
    """Typed settings. docs/settings.md, .env.example and docker-compose.yml are made from them.

    `make generate` writes those: a new setting needs its field here, and nothing else.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,  # `DAMOSCOPE_X=` in a .env or Compose file means unset
        toml_file=CONFIG_FILE,
        frozen=True,
        extra="forbid",  # a name in damoscope.toml that there is not
    )

    # where things are
    home: Annotated[Path, EVERY] = Field(
        default_factory=_data_folder,
        description="Data folder: Redis files, telemetry store, logs, models. Default: `var` in a "
        "checkout, else the platform's folder for a user's data.",
    )
    host: Annotated[str, UP_AND_READERS] = Field(
        "127.0.0.1", description="Address the frontend listens on."
    )
    port: Annotated[int, UP_AND_READERS] = Field(
        7860, ge=1, le=65535, description="Port the frontend listens on."
    )
    trusted_proxies: Annotated[Networks | None, FRONTEND] = Field(
        None,
        description="Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: "
        "addresses or networks, separated by commas. Unset: none.",
    )
    public_url: Annotated[ServiceUrl | None, UP_AND_READERS] = Field(
        None,
        description="The service as browsers reach it, with the path that a proxy puts it under, "
        "such as `https://exams.example/phones`. Unset: the address that a request names; links "
        "in notifications lead to the address it listens on.",
    )
    cors_origins: Annotated[Origins | None, FRONTEND] = Field(
        None,
        description="Origins of other sites whose pages may use the API, such as "
        "`https://exams.example`, separated by commas. Unset: none.",
    )
    redis_url: Annotated[SecretStr | None, EVERY] = Field(
        None,
        # The first choice wins. Names of variables have no case: the second is REDIS_URL too.
        validation_alias=AliasChoices("DAMOSCOPE_REDIS_URL", "redis_url"),
        description="Redis to use (also read from REDIS_URL). Unset: `damoscope up` starts one.",
    )

    # who may do what
    keys_file: Annotated[Path | None, UP_AND_FRONTEND] = Field(
        None,
        description="File of keys, which `damoscope keys` writes. Unset: `keys.json` in the data "
        "folder. Once it is there, keys are needed.",
    )
    insecure: Annotated[bool, UP_AND_FRONTEND] = Field(
        False,
        description="Serve whoever reaches an address that is not loopback, though there are no "
        "keys. Unset: the start is refused.",
    )
    session_secret: Annotated[SigningSecret | None, FRONTEND] = Field(
        None,
        description="What signs the cookies of logins, 32 characters or more. Unset: "
        "`session.secret` in the data folder, made when it is not there.",
    )
    trace_context: Annotated[Literal["all", "keys", "none"], FRONTEND] = Field(
        "keys",
        description="Whose incoming trace context is continued: everybody's, that of clients who "
        "are known (on loopback without keys: everybody), or nobody's.",
    )
    otlp_token: Annotated[SecretStr | None, FRONTEND] = Field(
        None,
        description="What senders of telemetry to a frontend's own receiver must send as "
        "`x-damoscope-token`. Unset: a new one at each start, for its own processes.",
    )
    oidc_issuer: Annotated[str | None, UP_AND_FRONTEND] = Field(
        None,
        description="Address of an OpenID Connect issuer, for logins by it beside those by key.",
    )
    oidc_client_id: Annotated[str | None, FRONTEND] = Field(
        None, description="What the issuer knows this service as."
    )
    oidc_client_secret: Annotated[SecretStr | None, FRONTEND] = Field(
        None, description="The secret that belongs to it. Unset: a public client."
    )
    oidc_roles_claim: Annotated[str, FRONTEND] = Field(
        "roles",
        description="Claim that says what somebody may do; dots lead into it, as in "
        "`realm_access.roles`.",
    )
    oidc_roles: Annotated[str | None, FRONTEND] = Field(
        None,
        description="Which value of the claim gives which role, such as "
        "`Exam board=admin, Invigilators=read`. Unset: values that are called as a role is.",
    )

    # the model and who runs it
    model: Annotated[Path, UP_AND_WORKER] = Field(
        BUNDLED,
        description="DAMO-YOLO model: an ONNX file, or the name of a model that is installed "
        "(`damoscope model list`).",
    )
    serves: Annotated[ModelName | None, UP_AND_WORKER] = Field(
        None,
        description="Name of a model that images can ask for (`model=`): the worker runs it, "
        "whatever `DAMOSCOPE_MODEL` says, and takes those images alone. Unset: it takes the images "
        "that name no model.",
    )
    models_beside: Annotated[WorkersByModel | None, UP] = Field(
        None,
        description="Models that images can ask for (`model=`), each with workers and queues of "
        "its own beside the others, such as `damoyolo-s=1,exam-s=2`. Unset: none.",
    )
    shadow: Annotated[ModelName | None, UP_AND_WORKER] = Field(
        None,
        description="Name of a model that looks at a share of the images as well, once they are "
        "answered: it is compared, and its boxes are in no answer. Images that name no model are "
        "meant; `damoscope up` starts a worker for it. Unset: none.",
    )
    shadow_share: Annotated[float, WORKER] = Field(
        0.1, ge=0, le=1, description="Share of the images that `DAMOSCOPE_SHADOW` looks at."
    )
    model_mirror: Annotated[MirrorUrl | None, MODEL_COMMAND] = Field(
        None,
        description="Where `damoscope model pull` fetches from in place of "
        "`https://raw.githubusercontent.com`.",
    )
    labels: Annotated[Path | None, WORKER] = Field(
        None,
        description="File of class names, one per line, for a model that does not contain them.",
    )
    provider: Annotated[Provider, WORKER] = Field(
        "auto", description="ONNX Runtime provider to run on."
    )
    workers: Annotated[int, UP_AND_WORKER] = Field(
        default_factory=machine.cpus,
        ge=1,
        le=WORKERS_MAX,
        description="Worker processes of `damoscope up`; they share the cores evenly.",
    )
    frontends: Annotated[int, UP] = Field(
        1,
        ge=1,
        le=64,
        description="Frontends of `damoscope up`: the first serves pages and API, the others only "
        "the API, on the next ports.",
    )
    drain_s: Annotated[float, UP_AND_FRONTEND] = Field(
        25.0,
        ge=0,
        le=600,
        description="How long a frontend that is told to stop finishes the images that it has in "
        "hand, in seconds; it takes no others.",
    )
    pages: Annotated[bool, FRONTEND] = Field(
        True, description="Whether a frontend serves the pages as well as the API."
    )
    threads: Annotated[int, WORKER] = Field(
        0,
        ge=0,
        le=256,
        description="Threads of one inference. 0: a share of the cores, or all for a lone image.",
    )
    batch_max: Annotated[int, WORKER] = Field(
        0, ge=0, le=256, description="Most images in one inference. 0: 1 on a CPU, 16 on a GPU."
    )
    batch_wait_ms: Annotated[float, WORKER] = Field(
        0.0, ge=0, le=1000, description="How long a batch with one image waits for more."
    )
    stage_limit_s: Annotated[float, WORKER] = Field(
        20.0,
        gt=0,
        le=600,
        description="Longest that a stage (decoding, inference) of one image may take, in seconds; "
        "then the image fails, and is not tried again.",
    )
    heartbeat_file: Annotated[Path | None, WORKER_AND_WATCHER] = Field(
        None,
        description="File whose time a worker or watcher sets twice a second once it works, for "
        "probes. It is of one process, such as a container's, and removed at its start and end.",
    )

    # what a request may ask for
    max_upload_bytes: Annotated[int, FRONTEND] = Field(
        20 * 2**20, ge=1024, description="Largest image file that is accepted, in bytes."
    )
    image_hosts: Annotated[ImageHosts | None, FRONTEND] = Field(
        None,
        description="Hosts that images are fetched from where a client sends an address in the "
        "place of an image, separated by commas: `cameras.example`, `*.example.org`, "
        "`http://10.0.0.5:8080`, `https://nvr.lan=10.0.0.0/8`. Unset: none.",
    )
    page_uploads_bytes: Annotated[int, FRONTEND] = Field(
        4 * 2**30,
        ge=2**20,
        description="Disk space for images that pages have uploaded, in bytes, of all clients "
        "together; one client gets a quarter. They are deleted minutes after they were used.",
    )
    # Pillow, which reads the headers, refuses anything above 178 million by itself.
    max_pixels: Annotated[int, FRONTEND] = Field(
        50_000_000, ge=1, le=178_000_000, description="Largest image that is accepted, in pixels."
    )
    tiles_max: Annotated[int, FRONTEND] = Field(
        64,
        ge=0,
        le=TILES_MOST,
        description="Most tiles that an image may be looked at in (`tiles=`), each as much work as "
        "an image; each takes a worker 0.3 MB at a model input of 320, 1.2 MB at 640. 0: none.",
    )
    score_threshold: Annotated[float | None, WORKER] = Field(
        None, ge=0, le=1, description="Default score threshold. Unset: the model's own."
    )
    iou_threshold: Annotated[float | None, WORKER] = Field(
        None, ge=0, le=1, description="Default IoU threshold of NMS. Unset: the model's own."
    )
    rate_limit: Annotated[Rate | None, FRONTEND] = Field(
        None, description="Requests per client address, such as `100/minute`. Unset: no limit."
    )

    connections_max: Annotated[int, FRONTEND] = Field(
        1000,
        ge=16,
        le=20_000,
        description="Most connections at once of one frontend; one address may have half of them. "
        "The limit of open files may lower it.",
    )
    upload_memory_mb: Annotated[int, FRONTEND] = Field(
        256,
        ge=16,
        description="Memory that uploads may take at once in one frontend; one client may take a "
        "quarter. Never less than three of the largest uploads.",
    )

    # the queue
    queue_max: Annotated[int, FRONTEND] = Field(
        1000,
        ge=1,
        description="Most jobs that may wait, for each model that images ask for; further requests "
        "are refused (503).",
    )
    queue_mb: Annotated[int, FRONTEND] = Field(
        512,
        ge=16,
        description="Memory of Redis that images may take while they wait; further requests are "
        "refused (503).",
    )
    job_ttl_s: Annotated[int, FRONTEND] = Field(
        600, ge=1, description="A job that has waited longer is dropped."
    )
    result_ttl_s: Annotated[int, FRONTEND_AND_WORKER] = Field(
        3600, ge=1, description="How long results are kept for fetching."
    )
    attempts_max: Annotated[int, FRONTEND] = Field(
        3,
        ge=1,
        le=10,
        description="How often an image is tried if workers die while working on it.",
    )

    keep_images: Annotated[Kept | None, UP_AND_WORKER] = Field(
        None,
        description="What is kept of images that were answered, to be seen beside their traces: "
        "nothing (`none`), a picture of 320 pixels without any metadata (`thumbnails`), or the "
        "file as it was sent (`full`). It takes memory of Redis. Unset: `thumbnails` under "
        "`damoscope up` with a Redis and a telemetry store of its own, else `none`.",
    )
    keep_images_hours: Annotated[float, WORKER] = Field(
        24.0, gt=0, le=720, description="How long pictures are kept, in hours."
    )
    keep_images_mb: Annotated[int, WORKER] = Field(
        200,
        ge=1,
        le=1_000_000,
        description="Memory of Redis that pictures may take, all together; the oldest go first.",
    )

    # telemetry
    telemetry_days: Annotated[float, READERS] = Field(
        30.0, gt=0, description="Age at which the embedded store drops traces and metrics."
    )
    telemetry_max_mb: Annotated[int, READERS] = Field(
        1024, ge=16, description="Size above which the embedded store drops its oldest traces."
    )
    prometheus_url: Annotated[str | None, UP_AND_READERS] = Field(
        None, description="Read metrics from this Prometheus instead of the embedded store."
    )
    jaeger_url: Annotated[str | None, READERS] = Field(
        None, description="Read traces from this Jaeger (query API) instead of the embedded store."
    )
    jaeger_ui_url: Annotated[str | None, READERS] = Field(
        None, description="Jaeger as a browser reaches it: where a trace's page links to."
    )
    clients: Annotated[Literal["address", "hashed", "off"], READERS] = Field(
        "address",
        description="How requests are counted by client in metrics and reports: by "
        "its address, by a hash of it, or not at all.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], EVERY] = Field(
        "info", description="Lowest level of log lines that are printed."
    )
    log_format: Annotated[Literal["text", "json"], EVERY] = Field(
        "text", description="Form of a log line: text, or one JSON object."
    )

    # alerts, notifications, reports
    alerts: Annotated[Path | None, READERS] = Field(
        None, description="File of alert rules. Unset: the rules that ship, `alerts.yaml`."
    )
    slo: Annotated[Path | None, READERS] = Field(
        None, description="File of service level objectives. Unset: those that ship, `slo.yaml`."
    )
    notify: Annotated[SecretStr | None, READERS] = Field(
        None, description="Where notifications go: Apprise URLs, separated by spaces."
    )
    notify_file: Annotated[Path | None, READERS] = Field(
        None, description="File of Apprise URLs, one per line, such as a mounted secret."
    )
    notify_language: Annotated[Literal["en", "zh"], READERS] = Field(
        "en", description="Language of notifications and scheduled reports."
    )
    notify_rate: Annotated[Rate, WATCHER] = Field(
        "30/hour", description="Most notifications per channel."
    )
    webhook_token: Annotated[SecretStr | None, FRONTEND] = Field(
        None,
        description="Bearer token that Alertmanager must send to the webhook. Unset, here and as "
        "a file: nothing is taken there.",
    )
    webhook_token_file: Annotated[Path | None, FRONTEND] = Field(
        None, description="File that holds the webhook's token, such as a mounted secret."
    )
    report_schedule: Annotated[str, WATCHER] = Field(
        "0 8 * * 1", description="When the report is sent: cron, in UTC. Default: Mondays at 8:00."
    )
    report_days: Annotated[int, WATCHER] = Field(
        7, ge=1, le=30, description="How many days the sent report covers."
    )
    cpu_worker_price: Annotated[float | None, READERS] = Field(
        None, ge=0, description="Price of a CPU worker per hour, for the costs in reports."
    )
    gpu_worker_price: Annotated[float | None, READERS] = Field(
        None, ge=0, description="Price of a GPU worker per hour, for the costs in reports."
    )
    currency: Annotated[str, READERS] = Field("USD", description="Currency of the prices.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def inference_threads(self) -> int:
        """Threads of one inference: `threads`, or this worker's share of the cores that its
        container may use."""
        return self.threads or max(1, machine.cpus() // self.workers)

    @property
    def workers_beside(self) -> dict[str, int]:
        """How many workers each of `models_beside` has, by its name, and one for `shadow`."""
        own = {self.shadow: 1} if self.shadow is not None else {}
        return own | workers_by_model(self.models_beside or "")

    @property
    def models_folder(self) -> Path:
        """Where models are installed."""
        return self.home / "models"

    @property
    def base_url(self) -> str:
        """The frontend's address as a client on this machine reaches it."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def public_path(self) -> str:
        """The path of the public URL, such as `/phones`; empty where it has none."""
        return urlsplit(self.public_url or "").path

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins whose pages may use the API."""
        return tuple(self.cors_origins.split(",")) if self.cors_origins else ()

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for the processes a command starts.

        Secrets are not among them: those processes read them where this one did. Only the address
        of Redis is, which may have been an option.
        """
        secret = {name for name in type(self).model_fields if self.is_secret(name)}
        values = self.model_dump(mode="json", exclude_none=True, exclude=secret)
        if self.redis_url is not None:
            values["redis_url"] = self.redis_url.get_secret_value()
        return {variable(name): str(value) for name, value in values.items()}

    @classmethod
    def read_by(cls, process: Process) -> list[str]:
        """Names of the settings that a command reads, in their order."""
        return [
            name
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, ReadBy) and process in mark.processes
        ]

    @classmethod
    def is_secret(cls, name: str) -> bool:
        """Whether a setting's value must not be shown."""
        field = cls.model_fields.get(name)
        kinds = get_args(field.annotation) if field is not None else ()
        return any(SecretStr in (kind, *get_args(kind)) for kind in kinds)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def unknown_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that look like settings and are none, each with a line that says so."""
    known = Settings.model_fields
    for name in sorted(environ):
        short = name.removeprefix(PREFIX)
        if short != name and short.lower() not in known:
            meant = _closest(short, known)
            hint = f"; did you mean {variable(meant)}?" if meant else ""
            yield name, f"{name} is not a setting{hint}"


def load(**overrides: Any) -> Settings:
    """Build the settings; `overrides` that are None count as not given.

    Raises ConfigurationError naming the setting, its value and what is wrong.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{CONFIG_FILE} cannot be read: {error}") from error


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        name = str(item["loc"][0]) if item["loc"] else "settings"
        if item["type"] == "extra_forbidden":
            meant = _closest(name.removeprefix(PREFIX), Settings.model_fields)
            hint = f"; did you mean {meant}?" if meant else ""
            lines.append(f"{CONFIG_FILE}: {name} is not a setting{hint}")
            continue
        name = name.removeprefix(PREFIX).lower()
        reason = item["msg"].removeprefix("Value error, ")
        reason = reason[:1].lower() + reason[1:]
        value = "***" if Settings.is_secret(name) else item["input"]
        lines.append(f"{variable(name)}={value}: {reason}")
    return "; ".join(lines)


def _closest(name: str, known: Iterable[str]) -> str | None:
    """What somebody meant who wrote `name`."""
    return next(iter(get_close_matches(name.lower(), known, n=1)), None)
