"""What the API server answers instead of what was asked, as errors of ours.

::

    ArklexError
    └── ApiError                the API server refused; ``status`` is its HTTP status
        ├── ApiUnreachable      it cannot be reached, or does not answer in time (status 0)
        ├── ApiNotFound         404: the object is gone
        ├── ApiConflict         409: it exists already, or has changed since it was read
        └── ApiGone             410: the version asked for is too old: list again
"""

from __future__ import annotations

from arklex_runtime.errors import ArklexError


class ApiError(ArklexError):
    """The API server answered ``status``; ``retry_after`` are the seconds it asks to wait, 0.0 if it does not."""

    reason = "ApiError"

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.retryable = status in (0, 408, 429) or status >= 500

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.status, str(self), self.retry_after)


class ApiUnreachable(ApiError):
    """No answer: the connection failed, broke or timed out."""

    reason = "ApiUnreachable"


class ApiNotFound(ApiError):
    """No such object."""

    reason = "NotFound"


class ApiConflict(ApiError):
    """It exists already, or is another version than the one that was read."""

    reason = "Conflict"


class ApiGone(ApiError):
    """The resourceVersion or the list's continuation has expired."""

    reason = "Gone"


_BY_STATUS: dict[int, type[ApiError]] = {404: ApiNotFound, 409: ApiConflict, 410: ApiGone}


def api_error(status: int, message: str, retry_after: float = 0.0) -> ApiError:
    """The error for an HTTP status."""
    return _BY_STATUS.get(status, ApiError)(status, message, retry_after)
