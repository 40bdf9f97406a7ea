"""Every error that damoscope raises on purpose.

Between processes only an error's `code` and its message travel (never a
pickle); `from_code` turns them back into the class on the other side.
"""

from __future__ import annotations


class DamoscopeError(Exception):
    """Root of all errors raised on purpose; its message is fit for a user's eyes."""

    #: HTTP status the frontend answers with.
    status = 500
    #: Stable name of the kind of error; `error.type` in spans, `type` in problem documents.
    code = "internal"
    #: Short title of a problem document (RFC 9457).
    title = "Internal error"
    #: The `outcome` under which the request is counted.
    outcome = "failed"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        #: Response headers that go with this error.
        self.headers: dict[str, str] = {}


class ConfigurationError(DamoscopeError):
    """A setting, a port or a file is unusable; the command ends with exit code 2."""

    code = "configuration"
    title = "Configuration error"


class ModelError(ConfigurationError):
    """The model file is missing, broken, or not a DAMO-YOLO export that we can run."""

    code = "model"
    title = "Model cannot be used"


class InvalidImage(DamoscopeError):
    """The bytes are not an image, or they end before the image does."""

    status = 400
    code = "invalid_image"
    title = "Not an image, or cut short"
    outcome = "invalid"


class Unauthenticated(DamoscopeError):
    """It is not known who asks, and has to be: no key, or one that does not stand."""

    status = 401
    code = "unauthenticated"
    title = "Not signed in"
    outcome = "invalid"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["WWW-Authenticate"] = 'Bearer realm="damoscope"'


class Forbidden(DamoscopeError):
    """It is known who asks, and they may not."""

    status = 403
    code = "forbidden"
    title = "Not allowed"
    outcome = "invalid"


class Misdirected(DamoscopeError):
    """The request is for a host that this service is not."""

    status = 421
    code = "misdirected"
    title = "Not this host"
    outcome = "invalid"


class ImageTooLarge(DamoscopeError):
    """More bytes or more pixels than the limits allow."""

    status = 413
    code = "too_large"
    title = "Image too large"
    outcome = "invalid"


class UnsupportedImage(DamoscopeError):
    """An image, or a request body, of a format that we do not take."""

    status = 415
    code = "unsupported_format"
    title = "Format not supported"
    outcome = "invalid"


class MalformedRequest(DamoscopeError):
    """What came is no HTTP request, or one that two servers could understand differently; or one of
    its fields is not what it has to be."""

    status = 400
    code = "malformed_request"
    title = "Malformed request"
    outcome = "invalid"


class RequestTimeout(DamoscopeError):
    """The request came too slowly."""

    status = 408
    code = "request_timeout"
    title = "Request not complete in time"
    outcome = "invalid"


class BodyTooLarge(DamoscopeError):
    """The request's body is larger than this address takes."""

    status = 413
    code = "body_too_large"
    title = "Request too large"
    outcome = "invalid"


class TargetTooLong(DamoscopeError):
    """The address and its query are longer than any that we have."""

    status = 414
    code = "uri_too_long"
    title = "Address too long"
    outcome = "invalid"


class HeaderTooLarge(DamoscopeError):
    """The request's header has too many fields, or too many bytes."""

    status = 431
    code = "header_too_large"
    title = "Header too large"
    outcome = "invalid"


class InvalidParameter(DamoscopeError):
    """A query parameter is missing, out of range or of the wrong kind."""

    status = 422
    code = "invalid_parameter"
    title = "Invalid parameter"
    outcome = "invalid"


class KeyReused(DamoscopeError):
    """The Idempotency-Key came before, with another image or other parameters."""

    status = 422
    code = "idempotency_key_reused"
    title = "Idempotency-Key used before"
    outcome = "invalid"


class RateLimited(DamoscopeError):
    """This client sends faster than the limit set for one client."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"
    outcome = "rejected"


class Unavailable(DamoscopeError):
    """No worker is ready, Redis is away, or the service is stopping."""

    status = 503
    code = "unavailable"
    title = "Service not available"
    outcome = "rejected"
    #: The queue whose workers are too few, where that is why.
    queue = ""


class Cancelled(DamoscopeError):
    """The image was withdrawn: its client hung up, or asked for it."""

    status = 409
    code = "cancelled"
    title = "Image withdrawn"
    outcome = "cancelled"


class AlreadyDone(DamoscopeError):
    """The job has its result, or its error: it is too late to withdraw its image."""

    status = 409
    code = "already_done"
    title = "Too late to withdraw"
    outcome = "invalid"


class SwitchUnderWay(DamoscopeError):
    """Workers are being switched to a model, and another is wanted."""

    status = 409
    code = "switch_under_way"
    title = "Another switch is under way"
    outcome = "invalid"


class Overloaded(Unavailable):
    """There is more to do than can be done within the caller's `timeout`, or than may wait."""

    code = "overloaded"
    title = "Cannot be answered in time"
    #: When it is worth to try again.
    retry_after_s = 2


class DetectionTimeout(DamoscopeError):
    """No result within the caller's `timeout`; the image is withdrawn."""

    status = 504
    code = "timeout"
    title = "Not done in time"
    outcome = "timeout"


class JobExpired(DamoscopeError):
    """The job was older than its deadline when a worker took it, so it was not run."""

    status = 504
    code = "expired"
    title = "Job expired in the queue"
    outcome = "timeout"


class FetchFailed(DamoscopeError):
    """The host that an image's address names does not send it, and is at fault."""

    status = 502
    code = "fetch_failed"
    title = "Image could not be fetched"
    outcome = "failed"


class NotFound(DamoscopeError):
    """No such job or trace: it never existed, or it has outlived its time to live."""

    status = 404
    code = "not_found"
    title = "Not found"
    outcome = "invalid"


class WorkerLost(DamoscopeError):
    """Every worker that took the job died over it."""

    code = "worker_lost"
    title = "Worker lost"


class InferenceFailed(DamoscopeError):
    """The model raised an error on this image."""

    code = "inference_failed"
    title = "Inference failed"


def _classes(root: type[DamoscopeError]) -> dict[str, type[DamoscopeError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        if "code" in vars(child):  # else it is a case of its parent
            found.update(_classes(child))
    return found


def from_code(code: str, message: str) -> DamoscopeError:
    """The error that another process reported as `code` and `message`."""
    return _classes(DamoscopeError).get(code, DamoscopeError)(message)
