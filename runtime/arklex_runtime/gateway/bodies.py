"""What requests carry, read and checked: bodies, parameters, headers. Every refusal names its field."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from arklex_api.base import JSON
from arklex_api.durations import seconds
from arklex_api.jsonvalue import check_json
from arklex_runtime.gateway.ports import Order
from arklex_runtime.gateway.problems import BadRequest

MAX_BODY = (1 << 20) + (64 << 10)
"""Bytes: an input of 1 MiB, and a little for what goes with it."""
MAX_WAIT = 300.0
MAX_KEY = 255
PHASES = ("Pending", "Running", "Succeeded", "Failed", "Cancelled")


async def read_body(request: web.Request) -> dict[str, JSON]:
    """The JSON object of a body; an empty one is ``{}``. Raises BadRequest, HTTPRequestEntityTooLarge."""
    data = await request.read()
    if not data.strip():
        return {}
    try:
        value = json.loads(data, parse_constant=_no_number, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        said = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadRequest.of("", "InvalidJSON", f"the body is not JSON: {said}") from None
    if not isinstance(value, dict):
        raise BadRequest.of("", "InvalidJSON", "the body must be a JSON object")
    try:
        check_json(value, what="body")
    except ValueError as error:
        raise BadRequest.of("", "InvalidJSON", str(error)) from None
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def only(body: dict[str, JSON], *known: str) -> None:
    """Raises BadRequest for a field that is not known: it would be ignored in silence."""
    for name in body:
        if name not in known:
            raise BadRequest.of(name, "UnknownField", f"is not known here (there is: {', '.join(known)})")


def text(body: dict[str, Any], name: str, default: str | None = None, most: int = 10_000) -> str | None:
    """A string. Raises BadRequest."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise BadRequest.of(name, "Invalid", "must be a string")
    if len(value) > most:
        raise BadRequest.of(name, "TooLong", f"has {len(value)} characters, more than {most}")
    return value


def order_of(body: dict[str, Any], request: web.Request) -> Order:
    """What is asked to run. Raises BadRequest."""
    only(body, "query", "input", "context", "sessionId")
    context = body.get("context")
    if context is not None and not isinstance(context, dict):
        raise BadRequest.of("context", "Invalid", "must be a map")
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise BadRequest.of("Idempotency-Key", "Invalid", f"must have 1 to {MAX_KEY} characters")
    return Order(text(body, "query", "") or "", body.get("input"), context, text(body, "sessionId", most=253), key)


def wait_of(request: web.Request) -> float:
    """Seconds of ``?wait=30s``, 0.0 without. Raises BadRequest."""
    given = request.query.get("wait")
    if not given:
        return 0.0
    try:
        return min(seconds(given), MAX_WAIT)
    except ValueError as error:
        raise BadRequest.of("wait", "Invalid", str(error)) from None


def filters_of(request: web.Request) -> tuple[str | None, str | None, int]:
    """Phase, graph and limit of a list. Raises BadRequest."""
    phase, limit = request.query.get("phase"), request.query.get("limit", "50")
    if phase and phase not in PHASES:
        raise BadRequest.of("phase", "UnknownPhase", f"'{phase}' is not one of {', '.join(PHASES)}")
    if not limit.isdecimal() or not 1 <= int(limit[:7]) <= 1000:
        raise BadRequest.of("limit", "Invalid", "must be a number from 1 to 1000")
    return phase or None, request.query.get("graph") or None, int(limit)
