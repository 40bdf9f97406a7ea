"""Every metric, span and attribute of the service, each of its facts once.

From here come the instruments, the names in Prometheus, the rules that it records, the tables of
docs/metrics.md and docs/traces.md. Metrics are the objects below; a span's or an attribute's
constant is its name, what else is to be said of it is in SPANS and ATTRIBUTES.

Messaging and HTTP attributes are OpenTelemetry's; everything of our own is under `damoscope.`.
"""

from __future__ import annotations

from typing import Final

from pipeline.queue.malformed import KINDS as MALFORMED_KINDS
from telemetry.definitions import (
    Attribute,
    Attributes,
    AttributeType,
    Counter,
    Gauge,
    Histogram,
    Metric,
    Process,
    SpanDefinition,
    SpanKind,
    UpDownCounter,
)
from telemetry.outcomes import OUTCOMES

SERVICE_FRONTEND = "damoscope-frontend"
SERVICE_WORKER = "damoscope-worker"

ROUTES = ("api", "ui")
STAGES = ("upload", "queue_wait", "preprocess", "inference", "nms")
#: What came of an image that another model was to look at as well.
SHADOW_OUTCOMES = ("agreed", "differed", "failed", "dropped")
#: What came of an image in the hands of a worker.
WORKED_OUTCOMES = ("ok", "invalid", "failed", "timeout", "cancelled")
#: What tells the models apart that workers run.
_OF_MODEL: Attributes = {"model": (), "version": ()}
_CPU_STATES = ("idle", "user", "system", "irq")
_MEMORY_STATES = ("used", "free", "cached")

# -- metrics ------------------------------------------------------------------------------

#: Seconds; dense between 1 ms and 1 s, where stages live.
DURATION_BUCKETS_S = (
    0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03,
    0.04, 0.05, 0.06, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0,
    3.0, 5.0, 10.0, 20.0, 30.0, 60.0,
)  # fmt: skip

REQUESTS = Counter(
    "damoscope.requests", "{request}", "Requests, by how they ended.",
    {"outcome": OUTCOMES, "route": ROUTES},
    example="sum(rate({}[1m]))",
)  # fmt: skip
REQUESTS_LIMITED = Counter(
    "damoscope.requests.limited", "{request}",
    "Those of the rejected requests whose client was over its own rate: no fault of the service.",
    {"route": ROUTES},
    example="sum(rate({}[5m]))",
)  # fmt: skip
CLIENT_REQUESTS = Counter(
    "damoscope.client.requests", "{request}",
    "Requests by client: key's name, address, its hash, or `other` beyond 300 of a process.",
    {"client": ()},
    example="topk(10, sum by (client) (increase({}[1d])))",
)  # fmt: skip
REQUEST_DURATION = Histogram(
    "damoscope.request.duration", "s", "From the first byte of a request to its answer.",
    {"outcome": OUTCOMES, "route": ROUTES}, good=-1, buckets=DURATION_BUCKETS_S,
    example="histogram_quantile(0.95, sum by (le) (rate({}_bucket[5m])))",
)  # fmt: skip
STAGE_DURATION = Histogram(
    "damoscope.stage.duration", "s",
    "Time that an image spent in one stage; of a worker's stages, by the model that it ran.",
    {"stage": STAGES, **_OF_MODEL}, good=-1, buckets=DURATION_BUCKETS_S,
    example="histogram_quantile(0.95, sum by (le, stage) (rate({}_bucket[5m])))",
)  # fmt: skip
REFUSALS = Counter(
    "damoscope.refusals", "{request}",
    "Requests that were refused for who sent them; they count as nothing else.",
    {"reason": ("no_key", "bad_key", "role", "token", "login", "login_limit")},
    example="sum by (reason) (rate({}[5m]))",
)  # fmt: skip
REQUESTS_ACTIVE = UpDownCounter(
    "damoscope.requests.active", "{request}", "Requests in flight, of each frontend.",
    across=("sum",), example="sum({})",
)  # fmt: skip
QUEUE_DEPTH = Gauge(
    "damoscope.queue.depth", "{image}", "Images that wait in a queue.",
    {"queue": ()}, good=-1, across=("avg", "max"), example="sum(max by (queue) ({}))",
)  # fmt: skip
QUEUE_OLDEST_AGE = Gauge(
    "damoscope.queue.oldest_age", "s", "How long the first image of a queue has waited.",
    {"queue": ()}, good=-1, example="max({})",
)  # fmt: skip
WORKERS = Gauge(
    "damoscope.workers", "{worker}", "Workers that are ready, by whether they have images.",
    {"state": ("busy", "idle")}, good=1, across=("avg",), example="sum(max by (state) ({}))",
)  # fmt: skip
QUEUE_WORKERS = Gauge(
    "damoscope.queue.workers", "{worker}",
    "Workers that take from a queue; of a model's queues from that of ordinary images.",
    {"queue": ()}, good=1, example="max by (queue) ({})",
)  # fmt: skip
QUEUE_REFUSED = Counter(
    "damoscope.queue.refused", "{image}",
    "Images that were refused for want of workers, by the queue that has too few, or none.",
    {"queue": ()}, example="sum by (queue) (rate({}[1m]))",
)  # fmt: skip
WORKERS_FALLBACK = Gauge(
    "damoscope.workers.fallback", "{worker}",
    "Workers on the CPU of a host whose GPU they were to use.",
    good=-1, example="max({})",
)  # fmt: skip
WORKER_MODELS = Gauge(
    "damoscope.workers.models", "{worker}", "Workers that are ready, by the model that they use.",
    {"model": (), "version": ()}, example="max by (model, version) ({})",
)  # fmt: skip
MALFORMED = Counter(
    "damoscope.redis.malformed", "{entry}",
    "Entries in Redis under our names that are none of ours: refused or removed.",
    {"kind": MALFORMED_KINDS}, good=-1,
    example="sum by (kind) (increase({}[1h]))",
)  # fmt: skip
TELEMETRY_LOSSES = Gauge(
    "damoscope.telemetry.losses", "{loss}",
    "How often within a day the telemetry store was damaged or gone, and was begun anew.",
    good=-1, example="max({})",
)  # fmt: skip
BATCH_SIZE = Histogram(
    "damoscope.batch.size", "{image}", "Images of one inference.",
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256),
    example="sum(rate({}_sum[5m])) / sum(rate({}_count[5m]))",
)  # fmt: skip
DETECTIONS = Counter(
    "damoscope.detections", "{detection}", "Boxes that were found, by label and model.",
    {"label": (), **_OF_MODEL}, example="sum by (label) (rate({}[5m]))",
)  # fmt: skip
DETECTION_SCORE = Histogram(
    "damoscope.detection.score", "1", "Scores of the boxes that were found, by label and model.",
    {"label": (), **_OF_MODEL}, buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    example="sum by (label) (rate({}_sum[5m])) / sum by (label) (rate({}_count[5m]))",
)  # fmt: skip
MODEL_IMAGES = Counter(
    "damoscope.model.images", "{image}",
    "Images that workers have had in hand, by the model that ran and by what came of them there.",
    {**_OF_MODEL, "outcome": WORKED_OUTCOMES},
    example="sum by (model, version, outcome) (increase({}[1d]))",
)  # fmt: skip
IMAGE_SIZE = Histogram(
    "damoscope.image.size", "By", "Sizes of the encoded images, by format.",
    {"format": ()}, buckets=tuple(float(2**n) for n in range(10, 28)),  # 1 KiB .. 128 MiB
    example="sum(rate({}_sum[5m])) / sum(rate({}_count[5m]))",
)  # fmt: skip
INFERENCE_BUSY = Counter(
    "damoscope.inference.busy", "s", "Time spent in inference.",
    {"provider": ()}, example="sum(rate({}[5m]))",
)  # fmt: skip
WORKER_BUSY = Counter(
    "damoscope.worker.busy", "s",
    "Time in which a worker had an image in hand: utilisation and capacity follow from it.",
    {"provider": (), "queue": ()},
    example="sum(rate({}[5m]))",
)  # fmt: skip
SHADOW_IMAGES = Counter(
    "damoscope.shadow.images", "{image}",
    "Images that another model was to look at as well, by what came of it; those that were dropped "
    "by no version.",
    {**_OF_MODEL, "outcome": SHADOW_OUTCOMES},
    example="sum by (model, outcome) (rate({}[5m]))",
)  # fmt: skip
SHADOW_BOXES = Counter(
    "damoscope.shadow.boxes", "{detection}",
    "Boxes of answers and of the shadow runs beside them, by which of the two has found them.",
    {**_OF_MODEL, "found_by": ("both", "answer", "shadow")},
    example="sum by (model, found_by) (rate({}[5m]))",
)  # fmt: skip
SHADOW_SCORE_DIFFERENCE = Histogram(
    "damoscope.shadow.score_difference", "1",
    "By how much the scores of boxes differ that an answer and a shadow run both have, of each "
    "image on average.",
    _OF_MODEL, good=-1, buckets=(0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0),
    example="sum by (model) (rate({}_sum[1h])) / sum by (model) (rate({}_count[1h]))",
)  # fmt: skip

# From opentelemetry-instrumentation-system-metrics, in every process: of the process itself, or
# of its whole host.
SYSTEM_CPU = Gauge(
    "system.cpu.utilization", "1", "Share of its time that each processor of the host spent so.",
    {"state": _CPU_STATES, "cpu": ()}, good=-1, across=("avg",), of_host=True, merged=("cpu",),
    example='1 - avg({}{{state="idle"}})',
)  # fmt: skip
SYSTEM_MEMORY = Gauge(
    "system.memory.utilization", "1",
    "Share of the host's memory, or of the container's where that has a limit.",
    {"state": _MEMORY_STATES}, good=-1, across=("avg",), of_host=True,
    example='max({}{{state="used"}})',
)  # fmt: skip
SYSTEM_MEMORY_USAGE = Gauge(
    "system.memory.usage", "By", "The host's memory, or the container's where that has a limit.",
    {"state": _MEMORY_STATES}, good=-1, of_host=True, example='max({}{{state="used"}})',
)  # fmt: skip
PROCESS_CPU = Gauge(
    "process.cpu.utilization", "1", "Share of the whole host that one process takes.",
    good=-1, across=("sum",), of_host=True, example="{}",
)  # fmt: skip
PROCESS_MEMORY = UpDownCounter(
    "process.memory.usage", "By", "Memory of one process.",
    good=-1, across=("sum",), of_host=True, example="{}",
)  # fmt: skip

# Where there is a GPU, by NVML.
GPU_UTILIZATION = Gauge(
    "hw.gpu.utilization", "1", "Share of its time that the GPU was busy.",
    {"gpu": ()}, across=("avg",), of_host=True, example="max by (gpu) ({})",
)  # fmt: skip
GPU_MEMORY = Gauge(
    "hw.gpu.memory.usage", "By", "Memory of the GPU that is in use.",
    {"gpu": ()}, good=-1, of_host=True, example="max by (gpu) ({})",
)  # fmt: skip

#: What opentelemetry-instrumentation-system-metrics is to report.
SYSTEM: Final = (SYSTEM_CPU, SYSTEM_MEMORY, SYSTEM_MEMORY_USAGE, PROCESS_CPU, PROCESS_MEMORY)

#: All of them, by name.
METRICS: Final = {each.name: each for each in tuple(globals().values()) if isinstance(each, Metric)}

# -- spans of one image's trace, in order -------------------------------------------------

#: By name.
SPANS: Final[dict[str, SpanDefinition]] = {}


def _span(name: str, kind: SpanKind, process: Process, parent: str, start: str, end: str) -> str:
    SPANS[name] = SpanDefinition(kind, process, parent, start, end)
    return name


SPAN_REQUEST_API = _span(
    "POST /api/v1/detect", "SERVER", "frontend", "", "first byte of the request", "answer"
)
SPAN_REQUEST_UI = _span(
    "detect (page)", "SERVER", "frontend", "", "first byte of the browser's upload", "result"
)
SPAN_UPLOAD = _span(
    "upload", "INTERNAL", "frontend", "request", "first byte read", "checked and stored in Redis"
)
SPAN_ENQUEUE = _span(
    "enqueue detections", "PRODUCER", "frontend", "request", "enqueue call", "its answer"
)
SPAN_QUEUE_WAIT = _span(
    "queue_wait", "INTERNAL", "worker", SPAN_ENQUEUE, "enqueued", "taken, by Redis' clock"
)
SPAN_PROCESS = _span(
    "process detections", "CONSUMER", "worker", SPAN_ENQUEUE, "taken", "result stored"
)
SPAN_PREPROCESS = _span(
    "preprocess", "INTERNAL", "worker", SPAN_PROCESS, "encoded image", "decoded and resized"
)
SPAN_INFERENCE = _span(
    "inference", "INTERNAL", "worker", SPAN_PROCESS, "ONNX Runtime call",
    "its answer; links to the span of its batch",
)  # fmt: skip
SPAN_NMS = _span("nms", "INTERNAL", "worker", SPAN_PROCESS, "raw boxes", "detections")
#: In a trace of its own, with links to the traces of its images; `inference` spans link to it.
SPAN_BATCH = _span(
    "batch", "INTERNAL", "worker", "", "ONNX Runtime call for all images of a batch", "its answer"
)
#: Of an image that another model looks at as well, once it is answered.
SPAN_SHADOW = _span(
    "shadow", "INTERNAL", "worker", SPAN_ENQUEUE, "taken by a worker of another model, after the "
    "answer", "compared with the answer",
)  # fmt: skip

# -- attributes ---------------------------------------------------------------------------

#: By name.
ATTRIBUTES: Final[dict[str, Attribute]] = {}
_REQUEST = (SPAN_REQUEST_API, SPAN_REQUEST_UI)
_MESSAGING = (SPAN_ENQUEUE, SPAN_PROCESS)
_CALL = (SPAN_INFERENCE, SPAN_BATCH)
_HTTP = (SPAN_REQUEST_API,)


def _attribute(name: str, type: AttributeType, spans: tuple[str, ...], meaning: str) -> str:
    ATTRIBUTES[name] = Attribute(type, spans, meaning)
    return name


ATTR_OUTCOME = _attribute("damoscope.outcome", "string", _REQUEST, ", ".join(OUTCOMES))
ATTR_ROUTE = _attribute("damoscope.route", "string", _REQUEST, ", ".join(ROUTES))
ATTR_JOB_ID = _attribute("damoscope.job.id", "string", _REQUEST, "once the job exists")
ATTR_ENDUSER_ID = _attribute(
    "enduser.id", "string", _REQUEST, "who sent it: the name of a key or of a login, if known"
)
ATTR_DETECTIONS = _attribute(
    "damoscope.detections", "int", (*_REQUEST, SPAN_PROCESS, SPAN_NMS), "boxes that were found"
)
ATTR_IMAGE_FORMAT = _attribute(
    "damoscope.image.format", "string", (SPAN_UPLOAD,), "JPEG, PNG and so on"
)
ATTR_IMAGE_HOST = _attribute(
    "damoscope.image.host", "string", (SPAN_UPLOAD,), "the host it was fetched from, where it was"
)
ATTR_IMAGE_BYTES = _attribute(
    "damoscope.image.bytes", "int", (SPAN_UPLOAD,), "of the encoded image"
)
ATTR_IMAGE_WIDTH = _attribute(
    "damoscope.image.width", "int", (SPAN_UPLOAD,), "pixels, as a person sees it"
)
ATTR_IMAGE_HEIGHT = _attribute(
    "damoscope.image.height", "int", (SPAN_UPLOAD,), "pixels, as a person sees it"
)
ATTR_CLOCK_SKEW = _attribute(
    "damoscope.clock.skew_ms", "double", (SPAN_QUEUE_WAIT,),
    "the worker's clock less the frontend's, where they differ by 50 ms or more",
)  # fmt: skip
ATTR_ATTEMPT = _attribute(
    "damoscope.attempt", "int", (SPAN_PROCESS,), "1 for the first try; more when a worker died"
)
ATTR_WORKER = _attribute(
    "damoscope.worker", "string", (SPAN_PROCESS,), "the worker's name, as `rq info` shows it"
)
ATTR_LABELS = _attribute(
    "damoscope.labels", "string[]", (SPAN_PROCESS,), "the distinct labels that were found"
)
ATTR_SCORE = _attribute(
    "damoscope.score", "double", (SPAN_PROCESS,), "of the best box, where there is one"
)
ATTR_MODEL = _attribute("damoscope.model", "string", (SPAN_PROCESS, *_CALL), "the model's name")
ATTR_MODEL_VERSION = _attribute(
    "damoscope.model.version", "string", (SPAN_PROCESS, *_CALL),
    "what tells two files of one name apart: the first digits of the file's SHA-256",
)  # fmt: skip
ATTR_PROVIDER = _attribute(
    "damoscope.provider", "string", _CALL, "the ONNX Runtime provider that ran"
)
ATTR_BATCH_SIZE = _attribute(
    "damoscope.batch.size", "int", _CALL, "images of the call; of an image in tiles, of the largest"
)
ATTR_TILES = _attribute(
    "damoscope.tiles", "int", (SPAN_PREPROCESS, SPAN_INFERENCE, SPAN_NMS),
    "the tiles that the image was cut into, if it was",
)  # fmt: skip
ATTR_CALLS = _attribute(
    "damoscope.inference.calls", "int", (SPAN_INFERENCE,),
    "of an image in tiles: calls of ONNX Runtime for it alone, which have no `batch` span",
)  # fmt: skip
ATTR_CALLS_MS = _attribute(
    "damoscope.inference.calls_ms", "double", (SPAN_INFERENCE,),
    "time within those calls: between them other images had their turn",
)  # fmt: skip
ATTR_CANDIDATES = _attribute(
    "damoscope.nms.candidates", "int", (SPAN_NMS,), "boxes above the score threshold, before NMS"
)
#: Best boxes that a span names: these fit into a span that no store cuts.
BOXES_MAX = 50
ATTR_BOX_LABELS = _attribute(
    "damoscope.boxes.labels", "string[]", (SPAN_NMS,),
    f"of each of the best {BOXES_MAX} boxes, the best first",
)  # fmt: skip
ATTR_BOX_SCORES = _attribute("damoscope.boxes.scores", "double[]", (SPAN_NMS,), "of the same boxes")
ATTR_BOX_CORNERS = _attribute(
    "damoscope.boxes.corners", "int[]", (SPAN_NMS,),
    "of the same: x1, y1, x2, y2 of the first, then of the next, in pixels of the image as a "
    "person sees it",
)  # fmt: skip
_SHADOW = (SPAN_SHADOW,)
ATTR_SHADOW_MODEL = _attribute("damoscope.shadow.model", "string", _SHADOW, "which model looked")
ATTR_SHADOW_VERSION = _attribute("damoscope.shadow.model.version", "string", _SHADOW, "its version")
ATTR_SHADOW_BOTH = _attribute(
    "damoscope.shadow.both", "int", _SHADOW, "boxes that both the answer and this run have"
)
ATTR_SHADOW_ONLY_ANSWER = _attribute(
    "damoscope.shadow.only_answer", "int", _SHADOW, "boxes that only the answer has"
)
ATTR_SHADOW_ONLY_SHADOW = _attribute(
    "damoscope.shadow.only_shadow", "int", _SHADOW, "boxes that only this run has"
)
ATTR_SHADOW_PROBLEM = _attribute(
    "damoscope.shadow.problem", "string", _SHADOW, "why the run failed, if it did"
)
ATTR_ERROR_TYPE = _attribute(
    "error.type", "string", tuple(SPANS),
    "on a failure: its code, the exception's class, or on an API request the status of a 5xx",
)  # fmt: skip
#: What a client is told, on each span that it is about: see `telemetry.spans.fail`.
ATTR_PROBLEM_CODE = _attribute(
    "damoscope.problem.code", "string", tuple(SPANS), "the end of a problem document's `type`"
)
ATTR_PROBLEM_DETAIL = _attribute(
    "damoscope.problem.detail", "string", tuple(SPANS), "a problem document's `detail`"
)
ATTR_MESSAGING_SYSTEM = _attribute("messaging.system", "string", _MESSAGING, "always `rq`")
ATTR_MESSAGING_OPERATION_NAME = _attribute(
    "messaging.operation.name", "string", _MESSAGING, "enqueue, process"
)
ATTR_MESSAGING_OPERATION_TYPE = _attribute(
    "messaging.operation.type", "string", _MESSAGING, "send, process"
)
ATTR_MESSAGING_DESTINATION = _attribute(
    "messaging.destination.name", "string", _MESSAGING, "the queue"
)
ATTR_MESSAGING_MESSAGE_ID = _attribute("messaging.message.id", "string", _MESSAGING, "the job id")
ATTR_SERVER_ADDRESS = _attribute("server.address", "string", _HTTP, "the host that was asked")
ATTR_SERVER_PORT = _attribute("server.port", "int", _HTTP, "its port")
# The others of an API request are set by opentelemetry-instrumentation-fastapi.
_attribute("http.request.method", "string", _HTTP, "POST")
_attribute("http.route", "string", _HTTP, "the path's template")
_attribute("http.response.status_code", "int", _HTTP, "of the answer")
_attribute("url.path", "string", _HTTP, "as it was asked for")
_attribute("url.query", "string", _HTTP, "without `?`")
_attribute("url.scheme", "string", _HTTP, "http, https")
_attribute("network.protocol.version", "string", _HTTP, "1.1")
_attribute("client.address", "string", _HTTP, "who asked")
_attribute("client.port", "int", _HTTP, "its port")
_attribute("user_agent.original", "string", _HTTP, "as it was sent")
