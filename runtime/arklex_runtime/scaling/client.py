"""A small synchronous client of the runtime's HTTP API, for ScalableOrchestrator."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from arklex_api.base import JSON
from arklex_runtime.errors import (
    AuthenticationError,
    AuthorizationError,
    GraphNotFoundError,
    Overloaded,
    RateLimitExceeded,
    ValidationError,
)

_MAX_BYTES = 64 * 1024 * 1024


class RuntimeClient:
    """Runs a graph by name at one base URL: ``POST {base}/v1/graphs/{graph}/runs?wait=true``."""

    def __init__(self, base_url: str, api_key: str | None = None, timeout: float = 300.0) -> None:
        """``timeout`` in seconds. Raises ValueError for what is no http(s) URL."""
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url!r} is not an http:// or https:// URL")
        self.base_url = base_url.rstrip("/")
        self._parts = parts
        self._api_key = api_key
        self._timeout = timeout

    def run(self, task_graph: Any, query: str, context: dict[str, JSON] | None = None) -> dict[str, Any]:
        """The run's document. Raises OSError where the instance does not answer, else what its answer means."""
        graph = task_graph if isinstance(task_graph, str) else task_graph.metadata.name
        body = json.dumps({"query": query, "context": context}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._api_key is not None:
            headers["X-API-Key"] = self._api_key
        connection = self._connect()
        try:
            connection.request("POST", f"{self._parts.path.rstrip('/')}/v1/graphs/{graph}/runs?wait=true", body, headers)
            response = connection.getresponse()
            return _result(response.status, response.read(_MAX_BYTES), response.headers.get("Retry-After"))
        except http.client.HTTPException as error:
            raise ConnectionError(f"{self.base_url}: {error!r}") from error
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=self._timeout)


def _result(status: int, body: bytes, retry_after: str | None) -> dict[str, Any]:
    """The document of a 2xx answer. Raises what the status means; the words are the problem document's ``detail``."""
    try:
        document = json.loads(body) if body else {}
    except ValueError:
        raise ConnectionError(f"the runtime answered {status} without JSON") from None
    if not isinstance(document, dict):
        raise ConnectionError(f"the runtime answered {status} with no JSON object")
    if 200 <= status < 300:
        return document
    words = str(document.get("detail") or document.get("title") or f"the runtime answered {status}")
    wait = float(retry_after) if retry_after and retry_after.isdecimal() else 1.0
    if status == 429:
        raise RateLimitExceeded(words, wait)
    if status >= 500:
        raise Overloaded(words, wait)
    refusals = {401: AuthenticationError, 403: AuthorizationError, 404: GraphNotFoundError}
    raise refusals.get(status, ValidationError)(words)
