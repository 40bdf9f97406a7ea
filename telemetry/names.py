"""Names of services, spans, attributes and metrics: the contract that dashboards read by.

Messaging attributes follow the OpenTelemetry semantic conventions for messaging;
everything of our own is under `damoscope.`.
"""

from __future__ import annotations

SERVICE_FRONTEND = "damoscope-frontend"
SERVICE_WORKER = "damoscope-worker"

# -- spans of one image's trace, in order -------------------------------------------------
SPAN_REQUEST_API = "POST /api/v1/detect"  # SERVER
SPAN_REQUEST_UI = "detect (page)"  # SERVER
SPAN_UPLOAD = "upload"
SPAN_ENQUEUE = "enqueue detections"  # PRODUCER
SPAN_QUEUE_WAIT = "queue_wait"
SPAN_PROCESS = "process detections"  # CONSUMER
SPAN_PREPROCESS = "preprocess"
SPAN_INFERENCE = "inference"
SPAN_NMS = "nms"
#: One ONNX Runtime call over a whole batch, in a trace of its own; `inference` spans link to it.
SPAN_BATCH = "batch"

STAGES = ("upload", "queue_wait", "preprocess", "inference", "nms")

# -- attributes ---------------------------------------------------------------------------
MESSAGING_SYSTEM = "messaging.system"  # always "rq"
MESSAGING_OPERATION_NAME = "messaging.operation.name"  # "enqueue" | "process"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"  # "send" | "process"
MESSAGING_DESTINATION = "messaging.destination.name"  # the queue
MESSAGING_MESSAGE_ID = "messaging.message.id"  # the job id
# Of the request, as OpenTelemetry's conventions for HTTP servers name them; SERVER
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
URL_PATH = "url.path"
URL_QUERY = "url.query"
URL_SCHEME = "url.scheme"
PROTOCOL_VERSION = "network.protocol.version"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
CLIENT_ADDRESS = "client.address"
CLIENT_PORT = "client.port"
USER_AGENT = "user_agent.original"

ERROR_TYPE = "error.type"  # DamoscopeError.code, or an exception's class name

OUTCOME = "damoscope.outcome"  # SERVER: ok | invalid | rejected | failed | timeout
ROUTE = "damoscope.route"  # SERVER: api | ui
JOB_ID = "damoscope.job.id"  # SERVER
DETECTIONS = "damoscope.detections"  # SERVER, process: how many boxes were found
LABELS = "damoscope.labels"  # process: the distinct labels found
IMAGE_FORMAT = "damoscope.image.format"  # upload: JPEG | PNG | ...
IMAGE_BYTES = "damoscope.image.bytes"  # upload
IMAGE_WIDTH = "damoscope.image.width"  # upload, pixels as a person sees it
IMAGE_HEIGHT = "damoscope.image.height"  # upload
ATTEMPT = "damoscope.attempt"  # process: 1 for the first try
WORKER = "damoscope.worker"  # process: the RQ worker's name
MODEL = "damoscope.model"  # process, inference
PROVIDER = "damoscope.provider"  # inference: the ONNX Runtime provider that ran
BATCH_SIZE = "damoscope.batch.size"  # inference, batch
CLOCK_SKEW = "damoscope.clock_skew_ms"  # queue_wait: how far clocks disagreed, when they did
CANDIDATES = "damoscope.nms.candidates"  # nms: boxes above the score threshold

# -- metrics ------------------------------------------------------------------------------
M_REQUESTS = "damoscope.requests"
M_REQUEST_DURATION = "damoscope.request.duration"
M_STAGE_DURATION = "damoscope.stage.duration"
M_REQUESTS_ACTIVE = "damoscope.requests.active"
M_QUEUE_DEPTH = "damoscope.queue.depth"
M_QUEUE_OLDEST_AGE = "damoscope.queue.oldest_age"
M_WORKERS = "damoscope.workers"
M_BATCH_SIZE = "damoscope.batch.size"
M_DETECTIONS = "damoscope.detections"
M_DETECTION_SCORE = "damoscope.detection.score"
M_IMAGE_SIZE = "damoscope.image.size"
#: Workers that run on another provider than they were asked to.
M_WORKERS_FALLBACK = "damoscope.workers.fallback"
#: Requests by client: the address, a hash of it, or `other` beyond the first few hundred.
M_CLIENT_REQUESTS = "damoscope.client.requests"
M_INFERENCE_BUSY = "damoscope.inference.busy"
#: Seconds in which a worker had an image in hand: what its capacity is told from.
M_WORKER_BUSY = "damoscope.worker.busy"
#: Of the whole host, reported by each process on it; by `state`.
M_SYSTEM_CPU = "system.cpu.utilization"
M_SYSTEM_MEMORY = "system.memory.utilization"
#: Share of its whole host that one process takes.
M_PROCESS_CPU = "process.cpu.utilization"
M_GPU_UTILIZATION = "hw.gpu.utilization"
M_GPU_MEMORY = "hw.gpu.memory.usage"

#: Seconds; dense between 1 ms and 1 s, where stages live.
DURATION_BUCKETS_S = (
    0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03,
    0.04, 0.05, 0.06, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0,
    3.0, 5.0, 10.0, 20.0, 30.0, 60.0,
)  # fmt: skip
BATCH_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)
SCORE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
IMAGE_SIZE_BUCKETS_BY = tuple(float(2**n) for n in range(10, 28))  # 1 KiB .. 128 MiB
