"""What a provider's failure means for the task: one place that knows the library's exceptions."""

from __future__ import annotations

from typing import Any

from pydantic_ai import exceptions as library

from arklex_runtime.errors import TaskError
from arklex_runtime.security.redaction import Redactor

LIBRARY_ERRORS = (library.AgentRunError, library.UserError)
"""Everything the library raises of its own."""

_MAX_BODY = 500


def provider_error(error: Exception, who: str, redactor: Redactor) -> TaskError:
    """``error`` as a TaskError in our words, no secret in it; ``who`` is ``provider:model``."""
    kind, retryable = _kind(error)
    details: dict[str, Any] = {}
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        details["status"] = status
    retry_after = getattr(error, "retry_after", None)
    if isinstance(retry_after, int | float):
        details["retryAfter"] = float(retry_after)
    return TaskError(kind, redactor.text(f"{who}: {_words(error, status)}"), retryable, details or None)


def _kind(error: Exception) -> tuple[str, bool | None]:
    """The TaskError's type, and whether trying again can help where that is certain."""
    match error:
        case library.ModelRequestTimeout() | library.ModelTimeoutError():
            return "Timeout", None
        case library.ModelQuotaExceededError():
            return "RateLimited", False
        case library.ModelRateLimitError():
            return "RateLimited", None
        case library.ModelAuthenticationError():
            return "Denied", False
        case library.ModelHTTPError():
            return _by_status(error.status_code)
        case library.ModelRequestRejectedError() | library.UserError():
            return "InvalidInput", False
        case library.ModelAPIError():
            return "Unavailable", None
        case library.UsageLimitExceeded():
            return "Failed", None
    return "InvalidOutput", None


def _by_status(status: int) -> tuple[str, bool | None]:
    if status in (408, 504):
        return "Timeout", None
    if status == 429:
        return "RateLimited", None
    if status in (401, 403):
        return "Denied", False
    return ("Unavailable", None) if status >= 500 else ("InvalidInput", False)


def _words(error: Exception, status: object) -> str:
    if isinstance(error, library.ModelHTTPError):
        return f"the provider answered {status}: {_body(error.body)}"
    if isinstance(error, library.ModelConnectionError) and not isinstance(error, library.ModelTimeoutError):
        return f"the provider cannot be reached: {error.message}"
    if isinstance(error, library.UnexpectedModelBehavior):
        return f"the model's answer is not usable: {error.message}"
    return str(error)


def _body(body: object) -> str:
    """The provider's own message, out of the shapes that it comes in."""
    found: object = body
    while isinstance(found, dict):
        found = next((found[key] for key in ("error", "message", "detail") if found.get(key)), str(found))
    return " ".join(str(found).split())[:_MAX_BODY] or "no message"
