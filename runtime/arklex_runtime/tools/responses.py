"""What an HTTP response means: the tool's output, or a TaskError."""

from __future__ import annotations

import json
import math
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from arklex_api.base import JSON
from arklex_runtime.errors import TaskError

MAX_BYTES = 1024 * 1024
"""A body may have 1 MiB, decompressed: what a task's output may have."""

KEPT_HEADERS = frozenset({"content-type", "etag", "last-modified", "link", "location"})
"""Headers that the output keeps, besides all ``x-…``: no cookies, nothing that differs at every call."""

_MAX_EXCERPT = 500


async def read_output(response: aiohttp.ClientResponse) -> dict[str, JSON]:
    """``{status, headers, body}`` of a 2xx response: headers by lower-case name; body JSON or text by its Content-Type.

    An empty body is null.
    Raises TaskError InvalidOutput for a body over 1 MiB, broken JSON and binary data.
    """
    body = await _read(response)
    headers = {
        name.lower(): value
        for name, value in response.headers.items()
        if name.lower() in KEPT_HEADERS or name.lower().startswith("x-")
    }
    return {"status": response.status, "headers": headers, "body": _parse(body, response)}


async def read_failure(response: aiohttp.ClientResponse, what: str, now: float) -> TaskError:
    """The TaskError of a response that is not 2xx; ``what`` names the request, ``now`` is in epoch seconds."""
    kind, retryable = _kind(response.status)
    details: dict[str, Any] = {"status": response.status}
    wait = retry_after(response.headers.get("Retry-After"), now)
    if wait is not None:
        details["retryAfter"] = wait
    excerpt = " ".join((await response.content.read(_MAX_EXCERPT * 4)).decode("utf-8", "replace").split())[:_MAX_EXCERPT]
    message = f"{what} answered {response.status} {response.reason or ''}".rstrip()
    return TaskError(kind, f"{message}: {excerpt}" if excerpt else message, retryable, details)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 10.2.3: seconds or a date), None where there is none."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def _kind(status: int) -> tuple[str, bool | None]:
    if status in (408, 504):
        return "Timeout", None
    if status == 429:
        return "RateLimited", None
    if status in (401, 403):
        return "Denied", False
    if status >= 500:
        return "Unavailable", None
    return ("InvalidInput", False) if status >= 400 else ("InvalidOutput", False)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(64 * 1024):
        size += len(part)
        if size > MAX_BYTES:
            raise _unusable("is larger than 1 MiB: let the tool give a URI instead")
        parts.append(part)
    return b"".join(parts)


def _parse(body: bytes, response: aiohttp.ClientResponse) -> JSON:
    if not body:
        return None
    kind = response.content_type.lower()
    try:
        text = body.decode(response.charset or "utf-8")
    except (UnicodeDecodeError, LookupError):
        raise _unusable(f"is not text ({kind}): let the tool give a URI instead") from None
    if kind != "application/json" and not kind.endswith("+json"):
        return text
    try:
        return json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_constant)
    except ValueError as error:
        raise _unusable(f"is not valid JSON: {error}") from None
    except RecursionError:
        raise _unusable("is nested too deeply") from None


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"the integer {text[:24]} does not fit in 64 bits")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:24]} is too large")
    return number


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _unusable(why: str) -> TaskError:
    return TaskError("InvalidOutput", f"the tool's answer {why}", retryable=False)
