"""What can go wrong with the API server, by what to do about it."""

from __future__ import annotations


class ApiError(Exception):
    """The API server refused. ``status`` is HTTP's (0: no answer), ``reason`` Kubernetes' own word, such as ``NotFound``."""

    retryable = False

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class NotFoundError(ApiError):
    """There is no such object, namespace or kind."""


class ConflictError(ApiError):
    """It exists already, has changed since it was read, or a precondition does not hold."""

    retryable = True


class ForbiddenError(ApiError):
    """RBAC, a quota, an admission policy or a namespace that is being deleted says no; the message says which."""


class InvalidError(ApiError):
    """The object is not one that the API server takes."""


class UnavailableError(ApiError):
    """No answer in time, too many requests, or the server is in trouble: again later, ``retry_after`` seconds at the least."""

    retryable = True


_CLASSES: dict[int, type[ApiError]] = {
    400: InvalidError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ConflictError,
    422: InvalidError,
    429: UnavailableError,
}


def api_error(status: int, reason: str, message: str, retry_after: float = 0.0) -> ApiError:
    """The error of an HTTP status."""
    kind = _CLASSES.get(status, UnavailableError if status >= 500 or status == 0 else ApiError)
    return kind(status, reason, message, retry_after)
