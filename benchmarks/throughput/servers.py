"""What is measured: this service, and the peers, each as programs to start."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.throughput.process import HOST, ROOT, Program

CACHE = ROOT / ".cache" / "bench"
APPS = "benchmarks.throughput.peers"
PEERS = Path(__file__).parent / "peers"
DETECT = "/api/v1/detect"


@dataclass(frozen=True)
class Place:
    """Where a server runs, with which model and how many inferences at a time."""

    folder: Path
    port: int
    model: Path
    workers: int
    #: Settings of this service beside those above.
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """A server: `path` takes the picture as a raw body."""

    name: str
    #: `{}` stands where the version goes.
    title: str
    path: str
    programs: Callable[[Place], list[Program]]
    #: What its programs print once for each worker that is ready, where they do.
    says_ready: str | None = None

    def named(self, version: str = "") -> str:
        """The title with this version."""
        return self.title.format(version).replace(" ,", ",").replace("  ", " ").strip()


def ours(place: Place) -> list[Program]:
    """Everything that `damoscope up` starts: Redis, frontend, workers, telemetry, all on."""
    settings = {
        "DAMOSCOPE_HOME": str(place.folder / "home"),
        "DAMOSCOPE_PORT": str(place.port),
        "DAMOSCOPE_WORKERS": str(place.workers),
        "DAMOSCOPE_MODEL": str(place.model),
        "DAMOSCOPE_PROVIDER": "cpu",
    }
    command = [sys.executable, "-m", "run", "up"]
    return [Program("damoscope", command, settings | dict(place.settings))]


def _python(peer: str) -> str:
    return str(CACHE / peer / "bin" / "python")


def _app(peer: str, place: Place, *arguments: str, **more: str) -> Program:
    given = {
        "BENCH_MODEL": str(place.model),
        "BENCH_PORT": str(place.port),
        "BENCH_WORKERS": str(place.workers),
        **more,
    }
    command = [_python(peer), "-m", f"{APPS}.{peer}_app", *arguments]
    return Program("-".join((peer, *arguments)), command, given)


def _fastapi(place: Place) -> list[Program]:
    return [_app("fastapi", place)]


def _mosec(place: Place) -> list[Program]:
    return [_app("mosec", place, MOSEC_PORT=str(place.port), MOSEC_ADDRESS=HOST)]


def _litserve(place: Place) -> list[Program]:
    return [_app("litserve", place)]


def _bentoml(place: Place) -> list[Program]:
    command = [
        _python("bentoml"), "-m", "bentoml", "serve", f"{APPS}.bentoml_app:Detect",
        "--host", HOST, "--port", str(place.port),
    ]  # fmt: skip
    quiet = {"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(place.folder / "bentoml")}
    return [Program("bentoml", command, {**_app("bentoml", place).environment, **quiet})]


def _ray(place: Place) -> list[Program]:
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(place.folder)}
    return [_app("ray", place, **quiet)]


def redis(folder: Path) -> tuple[Program, Path]:
    """A Redis without persistence, and its socket file."""
    from run.redis_server import find_binary

    path = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    return Program("redis", [str(find_binary(folder)[0]), *options], makes=path), path


def _rq(place: Place) -> list[Program]:
    server, path = redis(place.folder)
    socket = {"BENCH_REDIS_SOCKET": str(path)}
    workers = [_app("rq", place, "work", str(n + 1), **socket) for n in range(place.workers)]
    return [server, *workers, _app("rq", place, "serve", **socket)]


def _celery(place: Place) -> list[Program]:
    server, path = redis(place.folder)
    more = {"BENCH_REDIS_SOCKET": str(path), "C_FORCE_ROOT": "1"}
    return [server, *(_app("celery", place, part, **more) for part in ("work", "serve"))]


OURS = Server("damoscope", "damoscope", f"{DETECT}?max_detections=300", ours, "worker: ready: ")

#: In the order in which they are installed: the big ones last.
ALL_PEERS = (
    Server("fastapi", "FastAPI {}, pool of threads", "/detect", _fastapi),
    Server("mosec", "mosec {}", "/inference", _mosec),
    Server("litserve", "LitServe {}", "/detect", _litserve),
    Server("rq", "stock RQ {} behind FastAPI", "/detect", _rq),
    Server("celery", "Celery {} behind FastAPI", "/detect", _celery),
    Server("bentoml", "BentoML {}", "/detect/", _bentoml),
    Server("ray", "Ray Serve {}", "/detect", _ray),
)


def peers(wanted: str) -> list[Server]:
    """Those that a comma-separated list names; `all` and `none` are lists, too.

    Raises ValueError naming what is not known.
    """
    if wanted in ("all", "none"):
        return list(ALL_PEERS) if wanted == "all" else []
    names = wanted.split(",")
    if unknown := set(names) - {server.name for server in ALL_PEERS}:
        raise ValueError(f"no such peer: {', '.join(sorted(unknown))}")
    return [server for server in ALL_PEERS if server.name in names]
