"""What comes of an attempt: its output checked, redacted and bounded, or an error document; in process as in a pod."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from arklex_api.base import JSON
from arklex_api.jsonvalue import check_json
from arklex_runtime.dispatch.jobs import Error
from arklex_runtime.engine.turn import MAX_OUTPUT
from arklex_runtime.errors import RateLimitExceeded, TaskError
from arklex_runtime.workers.failures import as_task_error


def outcome(output: JSON, error: BaseException | None, redact: Callable[[JSON], JSON] | None) -> tuple[JSON, int, Error | None]:
    """(output, its bytes as JSON, None) or (None, 0, error document)."""
    if error is None:
        try:
            value = check_json(output, what="output")
            value = redact(value) if redact else value
            size = len(orjson.dumps(value))
            if size <= MAX_OUTPUT:
                return value, size, None
            error = TaskError("InvalidOutput", f"the output has {size} bytes of JSON, more than 1 MiB: pass large data by URI")
        except ValueError as caught:
            error = TaskError("InvalidOutput", str(caught))
    failure = error_document(error)
    return None, 0, redact(failure) if redact else failure


def error_document(error: BaseException) -> Error:
    """``{type, message, retryable, details}`` for whatever a handler raised."""
    if isinstance(error, RateLimitExceeded):
        return document("RateLimited", str(error), details={"retryAfter": error.retry_after})
    known = as_task_error(error)
    return document(known.type, known.message, known.retryable, known.details)


def document(kind: str, message: str, retryable: bool | None = None, details: dict[str, Any] | None = None) -> Error:
    """An error document; the message is cut at 4 KiB."""
    final = kind in ("InvalidInput", "InvalidOutput", "Denied", "Cancelled")
    return {
        "type": kind,
        "message": message[:4096],
        "retryable": not final if retryable is None else retryable,
        "details": details,
    }


def tamed(error: BaseException) -> TaskError:
    """What would end the process is the task's failure."""
    return TaskError("Failed", f"the handler raised {type(error).__name__}: {error}", details={"class": type(error).__name__})


def broken(retry_after: float) -> Error:
    """The refusal of an open circuit breaker."""
    message = f"the worker keeps failing: its circuit breaker is open for another {retry_after:.1f} s"
    return document("Unavailable", message, details={"retryAfter": round(retry_after, 3)})
