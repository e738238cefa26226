"""Tools of ``spec.tools[].http``: one HTTP call each."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from arklex_api.base import JSON
from arklex_api.durations import seconds
from arklex_api.schema import SchemaError
from arklex_api.tool import Tool
from arklex_runtime.errors import TaskError
from arklex_runtime.security.redaction import Redactor
from arklex_runtime.tools.parts import tool_parts
from arklex_runtime.tools.responses import read_failure, read_output
from arklex_runtime.tools.templates import evaluate, header, invalid
from arklex_runtime.workers.base import TaskContext, WorkerServices

MAX_REDIRECTS = 5
"""Redirects are followed this often, and only to where the request went in the first place."""

_REDIRECTS = (301, 302, 303, 307, 308)
_UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(slots=True)
class _Request:
    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None

    @property
    def words(self) -> str:
        """The request as messages name it, without its query, which may hold what nobody should read."""
        return f"{self.method} {self.url.origin()}{self.url.path}"


class HttpTool:
    """Calls one URL with the values of its input; the output is ``{status, headers, body}`` (see responses).

    TaskErrors: InvalidInput (the input breaks inputSchema or a template, or 4xx), Denied (401, 403, an address or a
    redirect that is not allowed), Timeout (408, 504, or no answer in ``timeout``), RateLimited (429), Unavailable (5xx, no
    connection), InvalidOutput. Details: {status, retryAfter seconds}. POST, PUT, PATCH and DELETE carry the task's
    idempotency key as the header Idempotency-Key.
    """

    def __init__(self, tool: Tool, services: WorkerServices, path: str = "spec.tools[0]") -> None:
        """Raises ManifestError, with paths below ``path``. ``services.http`` must be given."""
        if services.http is None:
            raise ValueError("HTTP tools need WorkerServices.http")
        parts = tool_parts(tool, path, services)
        self.name = tool.name
        self.description = tool.description
        self.input_schema = tool.input_schema
        self.rate_limit = tool.rate_limit
        self.timeout = seconds(tool.timeout)
        self._method = tool.http.method
        self._url, self._headers, self._body = parts.url, parts.headers, parts.body
        self._schema = parts.schema
        self._authorization = parts.authorization
        self._redactor = Redactor([parts.authorization, parts.authorization.partition(" ")[2]] if parts.authorization else [])
        self._sessions = services.http
        self._clock = services.clock

    async def execute(self, input_data: JSON, context: TaskContext | None = None) -> JSON:
        """One call. Raises TaskError."""
        request = self._request(input_data, context)
        left = context.time_left(self._clock()) if context is not None else None
        limit = self.timeout if left is None else min(self.timeout, left)
        try:
            async with asyncio.timeout(limit):
                return await self._send(request)
        except TimeoutError:
            raise TaskError("Timeout", f"{request.words} gave no answer in {limit:.3g} s") from None
        except TaskError as error:
            raise TaskError(error.type, self._redactor.text(error.message), error.retryable, error.details) from None

    def _request(self, input_data: JSON, context: TaskContext | None) -> _Request:
        try:
            scope = {"input": self._schema.accept(input_data, "input")}
        except SchemaError as error:
            raise invalid(f"tool {self.name}: {error}") from None
        headers = CIMultiDict({name: header(template, name, scope) for name, template in self._headers.items()})
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        if context is not None and context.idempotency_key and self._method in _UNSAFE:
            headers.setdefault("Idempotency-Key", context.idempotency_key)
        body: bytes | None = None
        if self._body is not None:
            body, kind = _encode(evaluate(self._body, scope))
            headers.setdefault("Content-Type", kind)
        return _Request(self._method, self._url.render(scope), headers, body)

    async def _send(self, request: _Request) -> JSON:
        for _ in range(MAX_REDIRECTS + 1):
            try:
                async with self._sessions().request(
                    request.method, request.url, headers=request.headers, data=request.body, allow_redirects=False
                ) as response:
                    if response.status not in _REDIRECTS or "Location" not in response.headers:
                        if response.ok and response.status < 300:
                            return await read_output(response)
                        raise await read_failure(response, request.words, self._clock())
                    _redirect(request, response)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise _unreachable(error, request.words) from None
        raise TaskError("InvalidOutput", f"{request.words}: more than {MAX_REDIRECTS} redirects", retryable=False)


def _encode(value: JSON) -> tuple[bytes, str]:
    """The body's bytes and its Content-Type."""
    try:
        if isinstance(value, str):
            return value.encode(), "text/plain; charset=utf-8"
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), "application/json"
    except UnicodeEncodeError:
        raise invalid("the tool's body is not valid Unicode") from None


def _redirect(request: _Request, response: aiohttp.ClientResponse) -> None:
    """Points ``request`` to where the response sends it. Raises TaskError Denied for another origin."""
    target = request.url.join(URL(response.headers["Location"]))
    if target.origin() != request.url.origin():
        message = f"{request.words} redirects to {target.origin()}: a tool stays with its host; change its url"
        raise TaskError("Denied", message, retryable=False)
    request.url = target
    if response.status == 303 or (response.status in (301, 302) and request.method == "POST"):
        request.method, request.body = "HEAD" if request.method == "HEAD" else "GET", None
        request.headers.popall("Content-Type", None)


def _unreachable(error: Exception, words: str) -> TaskError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return TaskError("Denied", f"{words}: the server's certificate is not trusted: {error}", retryable=False)
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PermissionError):
        return TaskError("Denied", f"{words}: {error.os_error.strerror}", retryable=False)
    if isinstance(error, aiohttp.InvalidURL):
        return invalid(f"{words}: the URL is not valid")
    return TaskError("Unavailable", f"{words}: {error or type(error).__name__}")
