"""Errors as RFC 9457 problem documents. What is not ours is logged and answered without a word of it."""

from __future__ import annotations

import logging
import math
import re
from typing import Any

import orjson
from aiohttp import web

from arklex_api.problems import ManifestError, Problem
from arklex_runtime.errors import ArklexError, DatabaseUnavailable

BASE = "https://arklex.ai/problems/"
PROBLEM = "application/problem+json"

_FIELD = re.compile(r"^[A-Za-z][\w.\[\]-]*$")

log = logging.getLogger("arklex.door")


class BadRequest(ManifestError):
    """A request whose body, query or headers are refused: ``problems`` name the fields."""

    @classmethod
    def of(cls, path: str, reason: str, message: str) -> BadRequest:
        """One field."""
        return cls([Problem(path, reason, message)])


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)


def problem(
    status: int,
    kind: str,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """A problem document."""
    body: dict[str, Any] = {"type": BASE + kind, "title": kind.replace("-", " "), "status": status, "detail": detail[:4096]}
    if errors:
        body["errors"] = errors
    return web.Response(status=status, body=orjson.dumps(body), content_type=PROBLEM, headers=headers)


def problem_of(error: Exception) -> web.Response:
    """The answer to a request that ended in an error."""
    if isinstance(error, BadRequest):
        errors = [{"path": each.path, "reason": each.reason, "message": each.message} for each in error.problems]
        said = "; ".join(f"{each.path}: {each.message}" if each.path else each.message for each in error.problems)
        return problem(422, "invalid", said, errors)
    if isinstance(error, ManifestError):
        errors = [{"path": each.path, "reason": each.reason, "message": each.message} for each in error.problems]
        return problem(422, "invalid-graph", "the graph cannot be run as it is", errors)
    if isinstance(error, ArklexError):
        return _ours(error)
    if isinstance(error, web.HTTPException):
        return _of_http(error)
    log.error("a request failed: a defect of arklex", exc_info=error)
    return problem(500, "internal-error", "something went wrong here; the runtime's log says what")


def _ours(error: ArklexError) -> web.Response:
    headers: dict[str, str] | None = None
    if error.http_status in (429, 503):
        wait = getattr(error, "retry_after", 0.0) or 1.0
        headers = {"Retry-After": str(max(1, math.ceil(wait)))}
    detail = str(error)
    if isinstance(error, DatabaseUnavailable):
        log.warning("the journal does not answer", extra={"error": detail})
        detail = "the journal cannot be written or read now: try again"
    path, _, rest = detail.partition(": ")
    field = error.http_status == 422 and rest and _FIELD.match(path)
    errors = [{"path": path, "reason": error.reason, "message": rest}] if field else None
    return problem(error.http_status, error.problem_type, detail, errors, headers)


def _of_http(error: web.HTTPException) -> web.Response:
    kinds = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 401: "unauthenticated"}
    details = {404: "there is no such resource", 405: "this resource does not know that method", 413: "the body is too large"}
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    said = details.get(error.status, error.reason or "")
    return problem(error.status, kinds.get(error.status, "bad-request"), said, headers=headers)
