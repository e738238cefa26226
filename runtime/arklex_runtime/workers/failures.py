"""What an exception of a handler means for its task (semantics.md, "Failure")."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson

from arklex_api.jsonvalue import check_json
from arklex_runtime.errors import RateLimitExceeded, TaskError, ToolNotFoundError, ValidationError

MAX_MESSAGE_BYTES = 4096
"""A message is cut to this many bytes of UTF-8."""
MAX_DETAILS_BYTES = 64 * 1024
"""Details of an error beyond that are dropped."""
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}\Z")


def as_task_error(error: BaseException) -> TaskError:
    """``error`` as the TaskError to record, its message cut; what is no TaskError is of type Failed, its class in details."""
    if isinstance(error, TaskError):
        return _checked(error)
    if isinstance(error, asyncio.CancelledError):
        return TaskError("Cancelled", "the attempt was cancelled", retryable=False)
    if isinstance(error, RateLimitExceeded):
        return TaskError("RateLimited", cut(str(error)), details={"retryAfter": error.retry_after})
    if isinstance(error, ValidationError | ToolNotFoundError):
        return TaskError("InvalidInput", cut(str(error)), retryable=False)
    return TaskError("Failed", cut(_words(error)), details={"class": class_name(type(error))})


def _checked(error: TaskError) -> TaskError:
    """A handler may have put anything into its TaskError: what is not as it should be is replaced, never refused."""
    given = vars(error)
    kind, retryable = given.get("type"), given.get("retryable")
    known = kind if isinstance(kind, str) and _TYPE.match(kind) else "Failed"
    message = cut(str(given["message"])) if isinstance(given.get("message"), str | int | float) else cut(_words(error))
    return TaskError(known, message, retryable if isinstance(retryable, bool) else None, _details(given.get("details")))


def _details(details: Any) -> dict[str, Any] | None:
    """``details`` if they are a map of JSON of at most 64 KiB, else a map that says why they are not kept."""
    if details is None:
        return None
    try:
        found = check_json(details, what="details")
        if isinstance(found, dict) and len(orjson.dumps(found)) <= MAX_DETAILS_BYTES:
            return found
    except ValueError as error:
        return {"dropped": str(error)}
    return {"dropped": f"details must be a map of at most {MAX_DETAILS_BYTES} bytes of JSON"}


def cut(message: str) -> str:
    """``message`` in at most 4 KiB of UTF-8, lone surrogates replaced, an ellipsis where it was cut."""
    encoded = message.encode("utf-8", "replace")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return encoded.decode()
    return encoded[: MAX_MESSAGE_BYTES - 3].decode("utf-8", "ignore") + "…"


def class_name(kind: type[BaseException]) -> str:
    """``package.module.Class``, or the bare name of a builtin."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _words(error: BaseException) -> str:
    """The exception's own words, or its class where it has none or cannot be printed (a handler's class may break)."""
    try:
        text = str(error)
    except Exception:
        text = ""
    if not text.strip():
        return class_name(type(error))
    return f"missing key {text}" if type(error) is KeyError else text
