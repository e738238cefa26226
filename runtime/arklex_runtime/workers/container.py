"""Custom workers in any language: ``config.port``, an HTTP server beside the pod's reader (docs/decisions/0006)."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson

from arklex_api.base import JSON
from arklex_runtime.errors import TaskError
from arklex_runtime.workers.base import AsyncWorker, TaskContext

MAX_ANSWER = 2 << 20
"""Bytes of an answer that are read; an output has at most 1 MiB."""


class ContainerWorker(AsyncWorker):
    """POSTs each attempt as JSON to ``http://127.0.0.1:<port>/``.

    The request is ``{run, task, action, attempt, idempotencyKey, deadline, inputs, session}``; 200 with JSON is the output.
    Anything else is an error: ``{type, message, retryable}`` in the body where there is one, else Failed for 4xx and
    Unavailable for 5xx and for a container that does not answer.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._url = f"http://{host}:{port}/"
        self._session: aiohttp.ClientSession | None = None

    async def execute(self, inputs: JSON, context: TaskContext) -> JSON:
        """The container's answer. Raises TaskError."""
        body = orjson.dumps(
            {
                "run": context.run_id,
                "task": context.task_name,
                "action": context.action,
                "attempt": context.attempt,
                "idempotencyKey": context.idempotency_key,
                "deadline": context.deadline,
                "inputs": inputs,
                "session": context.session,
            }
        )
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5), trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        headers = {"Content-Type": "application/json", "Idempotency-Key": context.idempotency_key}
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                return _output(answer.status, await _read(answer))
        except aiohttp.ClientConnectorError as error:
            raise TaskError("Unavailable", f"the container does not listen on {self._url}: {error}") from None
        except (aiohttp.ClientError, asyncio.IncompleteReadError) as error:
            raise TaskError("Unavailable", f"the container broke off: {type(error).__name__}: {error}") from None

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    data = b""
    async for chunk in answer.content.iter_any():
        data += chunk
        if len(data) > MAX_ANSWER:
            raise TaskError("InvalidOutput", f"the container's answer has more than {MAX_ANSWER >> 20} MiB")
    return data


def _output(status: int, data: bytes) -> JSON:
    try:
        body: Any = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if status == 200:
            raise TaskError("InvalidOutput", f"the container's answer is not JSON: {error}") from None
        body = None
    if status == 200:
        return body
    given = body if isinstance(body, dict) else {}
    kind, retryable = given.get("type"), given.get("retryable")
    words = given.get("message") or data[:500].decode("utf-8", "replace").strip() or "no message"
    raise TaskError(
        kind if isinstance(kind, str) and kind else ("Unavailable" if status >= 500 else "Failed"),
        str(words),
        retryable if isinstance(retryable, bool) else None,
        {"status": status},
    )
