"""What the receiver takes at most: each piece, and in total.

The service itself stays far below all of these. They hold so that a sender that is broken, or
means harm, costs little: what is beyond them is not stored, is counted, and is said.
"""

from __future__ import annotations

from typing import Final, Literal

#: Data points, spans, and log lines of one export; the SDKs send 512 spans.
EXPORT_MAX_POINTS: Final = 20_000
EXPORT_MAX_SPANS: Final = 20_000
EXPORT_MAX_LINES: Final = 5_000

# -- traces -------------------------------------------------------------------------------

#: Spans of one trace, and their encoded bytes. A caller with 600 images in one trace has 4,800.
TRACE_MAX_SPANS: Final = 5_000
TRACE_MAX_BYTES: Final = 8 * 2**20
#: Spans that are stored as one piece: what a summary or a page unpacks is no more at a time.
CHUNK_MAX_SPANS: Final = 256
#: Up to this many spans of a trace the summaries of its requests have all that has come;
#: beyond, what came with the request.
SUMMARY_MAX_SPANS: Final = 256
#: A span of at most this many bytes is taken as it is; a larger one is trimmed, and dropped
#: if that does not help.
SPAN_WHOLE_BYTES: Final = 8 * 2**10
SPAN_MAX_BYTES: Final = 64 * 2**10
#: To this is trimmed: attributes, events and links of a span, and characters of a text. The
#: SDKs' own limit of attributes, events and links is 128.
SPAN_MAX_ITEMS: Final = 128
TEXT_MAX: Final = 4096
STACK_MAX: Final = 16_384
#: No request takes longer, in seconds; and none begins later than this from now.
SPAN_MAX_S: Final = 30 * 86_400
START_AHEAD_S: Final = 86_400.0
#: Processes, by their resource; those beyond share one for each service, then one for all.
RESOURCES_MAX: Final = 5_000
RESOURCES_SHARED: Final = 100
RESOURCE_MAX_BYTES: Final = 8 * 2**10

# -- log lines ----------------------------------------------------------------------------

#: Share of the store's size limit that log lines may take.
LINES_SHARE: Final = 0.1

# -- metrics ------------------------------------------------------------------------------

#: Metrics of the catalogue, or all others.
Room = Literal["own", "foreign"]
#: Series in each room. The metrics of the catalogue never share theirs.
SERIES_MAX: Final[dict[Room, int]] = {"own": 50_000, "foreign": 2_000}
#: Series that one process (service.instance.id) may report. A host of 256 processors has 1,024
#: of system.cpu.utilization.
SENDER_MAX: Final[dict[Room, int]] = {"own": 3_000, "foreign": 1_000}
#: Series over all processes that report them.
STREAMS_MAX: Final = 200_000
#: Attributes of a series; characters of its labels as JSON, of a metric's name (OpenTelemetry's
#: own limit), and of a process's.
SERIES_MAX_ATTRIBUTES: Final = 32
SERIES_MAX_LABELS: Final = 4096
NAME_MAX: Final = 255
INSTANCE_MAX: Final = 255
#: Values and counts beyond are nonsense, and could not be added up.
VALUE_MAX: Final = 2.0**60
COUNT_MAX: Final = 2**48
BUCKETS_MAX: Final = 256
