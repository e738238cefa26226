"""All I/O with the API server, over the official client's transport (``kubernetes.aio``). JSON in, JSON out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import orjson

from arklex_api.base import GROUP, VERSION, KubeModel
from arklex_api.run import TaskGraphRun
from arklex_api.taskgraph import TaskGraph
from arklex_api.worker import Worker
from arklex_runtime.kube.errors import ApiUnreachable, api_error

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""

MANAGER = "arklex-runtime"
PAGE = 100
"""Objects in one answer of a list: a TaskGraph may have half a megabyte."""

WATCH_SECONDS = 300
"""After which the server ends a watch by itself."""

QUIET_SECONDS = 120
"""Without a byte, after which a watch is given up: bookmarks come about once a minute."""

_CALL = aiohttp.ClientTimeout(total=15, sock_connect=5)
_LIST = aiohttp.ClientTimeout(total=60, sock_connect=5)


@dataclass(frozen=True, slots=True)
class Kind:
    """One of ours: its name, the name in URLs, its model."""

    name: str
    plural: str
    model: type[KubeModel]


WORKERS = Kind("Worker", "workers", Worker)
GRAPHS = Kind("TaskGraph", "taskgraphs", TaskGraph)
RUNS = Kind("TaskGraphRun", "taskgraphruns", TaskGraphRun)
KINDS = (WORKERS, GRAPHS, RUNS)


class Api:
    """The API server. Every method raises ApiError (its subclasses say what to do) and nothing else."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None) -> Api:
        """As the pod's ServiceAccount, or as ``kubeconfig`` says. Raises ApiUnreachable when there is neither."""
        from kubernetes.aio import client, config
        from kubernetes.aio.config.config_exception import ConfigException

        configuration: Any = client.Configuration()
        configuration.connection_pool_maxsize = 0  # no bound: each watch holds a connection
        load: Any = config.load_kube_config if kubeconfig else config.load_incluster_config
        try:
            if kubeconfig:
                await load(config_file=str(kubeconfig), client_configuration=configuration)
            else:
                load(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise ApiUnreachable(0, f"there is no way to the API server: {error}") from error
        return cls(client.ApiClient(configuration))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def list(self, kind: Kind, namespace: str | None) -> tuple[list[Object], str]:
        """All objects of a kind, of one namespace or of all, with the resourceVersion to watch from."""
        found: list[Object] = []
        token = ""
        while True:
            query = [("limit", str(PAGE)), *([("continue", token)] if token else [])]
            page = await self.request("GET", path(kind, namespace), query, timeout=_LIST)
            found += page.get("items") or []
            token = page["metadata"].get("continue") or ""
            if not token:
                return found, str(page["metadata"]["resourceVersion"])

    async def watch(self, kind: Kind, namespace: str | None, version: str) -> AsyncGenerator[Object]:
        """Events ``{type, object}`` since ``version``, bookmarks included, until the server ends the watch."""
        query = [("watch", "true"), ("resourceVersion", version), ("allowWatchBookmarks", "true")]
        query.append(("timeoutSeconds", str(WATCH_SECONDS)))
        patience = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=QUIET_SECONDS)
        response = await self._send("GET", path(kind, namespace), query, None, patience)
        try:
            async for line in _lines(response):
                event: Object = orjson.loads(line)
                if event["type"] == "ERROR":
                    told = event["object"]
                    raise api_error(int(told.get("code") or 500), str(told.get("message") or "the watch ended with an error"))
                yield event
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise ApiUnreachable(0, _said(error)) from error
        finally:
            response.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object."""
        return await self.request("GET", path(kind, namespace, name), [])

    async def apply_status(self, kind: Kind, namespace: str, name: str, version: str, status: Object) -> Object:
        """Say all that this field manager says of an object's status, if the object is still at ``version``.

        Returns the object. Raises ApiConflict when it has changed, ApiNotFound when it is gone.
        """
        metadata = {"name": name, "namespace": namespace, "resourceVersion": version}
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind.name, "metadata": metadata, "status": status}
        query = [("fieldManager", MANAGER), ("force", "true")]
        return await self.request("PATCH", path(kind, namespace, name) + "/status", query, body, "application/apply-patch+yaml")

    async def request(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: Object | None = None,
        content: str = "application/json",
        timeout: aiohttp.ClientTimeout = _CALL,
    ) -> Object:
        """One call; returns what it answers, as JSON."""
        response = await self._send(method, path, query, body, timeout, content)
        try:
            answer: Object = orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise ApiUnreachable(0, _said(error)) from error
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: Object | None,
        timeout: aiohttp.ClientTimeout,
        content: str = "application/json",
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": content}
        try:
            request = await self._client.param_serialize(
                method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(*request, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
            if response.status < 300:
                return response
            text = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(0, _said(error)) from error
        raise api_error(response.status, _message(text, response), _retry_after(response))


def path(kind: Kind, namespace: str | None, name: str | None = None) -> str:
    """The URL's path of a kind, or of one object."""
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}{within}/{kind.plural}" + (f"/{name}" if name else "")


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length: aiohttp's own reader refuses long ones, and an object may have megabytes."""
    parts: list[bytes] = []
    async for data in response.content.iter_any():
        *whole, rest = data.split(b"\n")
        for line in whole:
            parts.append(line)
            joined = b"".join(parts)
            parts.clear()
            if joined:
                yield joined
        if rest:
            parts.append(rest)


def _message(text: bytes, response: aiohttp.ClientResponse) -> str:
    with contextlib.suppress(orjson.JSONDecodeError, AttributeError):
        told = orjson.loads(text).get("message")
        if told:
            return str(told)[:2048]
    return f"HTTP {response.status} {response.reason}"


def _retry_after(response: aiohttp.ClientResponse) -> float:
    try:
        return max(0.0, float(response.headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "the API server does not answer in time"
    return f"the API server cannot be reached: {str(error) or type(error).__name__}"
