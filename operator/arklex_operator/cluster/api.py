"""The API server over the official client's transport (``kubernetes.aio``): JSON in, JSON out, every call with a timeout."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from arklex_operator.cluster.errors import ConflictError, NotFoundError, UnavailableError, api_error
from arklex_operator.cluster.monitoring import Monitoring
from arklex_operator.manifests.kinds import Kind, Object, kind_of

MANAGER = "arklex-operator"
"""Our field manager."""

PAGE = 500
_CALL = aiohttp.ClientTimeout(total=15, sock_connect=5)
_LIST = aiohttp.ClientTimeout(total=60, sock_connect=5)

_APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


class Api:
    """The API server. Methods raise ApiError (errors.py); each write is counted by kind and verb."""

    def __init__(self, client: Any, monitoring: Monitoring | None = None) -> None:
        self._client = client
        self._monitoring = monitoring or Monitoring()

    @classmethod
    async def connect(cls, monitoring: Monitoring | None = None, kubeconfig: Path | None = None) -> Api:
        """As the pod's ServiceAccount, or as ``kubeconfig`` (else the variable KUBECONFIG) says. Raises UnavailableError."""
        from kubernetes.aio import client, config
        from kubernetes.aio.config.config_exception import ConfigException

        configuration: Any = client.Configuration()
        configuration.connection_pool_maxsize = 0
        in_cluster: Any = config.load_incluster_config
        from_file: Any = config.load_kube_config
        try:
            if kubeconfig is not None:
                await from_file(config_file=str(kubeconfig), client_configuration=configuration)
            else:
                try:
                    in_cluster(client_configuration=configuration)
                except ConfigException:
                    await from_file(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise UnavailableError(0, "NoCredentials", f"there is no way to the API server: {error}") from error
        return cls(client.ApiClient(configuration), monitoring)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """One object; None if there is none."""
        try:
            return await self.call("GET", kind.path(namespace, name), kind=kind)
        except NotFoundError:
            return None

    async def raw(self, path: str) -> Object | None:
        """Whatever a path says (discovery, for example); None if there is nothing."""
        try:
            return await self.call("GET", path)
        except NotFoundError:
            return None

    async def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Object]:
        """All objects, page by page; with ``metadata_only`` each has nothing but its metadata.

        Objects carry no apiVersion and kind, as the API server leaves them out of lists.
        """
        token = ""
        query = [("labelSelector", labels), ("fieldSelector", fields), ("limit", str(PAGE))]
        while True:
            asked = [(key, value) for key, value in (*query, ("continue", token)) if value]
            accept = _METADATA if metadata_only else "application/json"
            page = await self.call("GET", kind.path(namespace), asked, kind=kind, accept=accept, timeout=_LIST)
            for item in page.get("items") or ():
                yield item
            token = page["metadata"].get("continue") or ""
            if not token:
                return

    async def apply(self, value: Object, *, subresource: str = "", force: bool = True) -> Object:
        """Server-side apply under our field manager: says all that we say of this object. Returns it as it is now."""
        kind, metadata = kind_of(value), value["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"], subresource)
        query = [("fieldManager", MANAGER), ("force", "true" if force else "false")]
        return await self.call("PATCH", path, query, value, kind=kind, verb=f"apply{subresource}", content=_APPLY)

    async def create(self, value: Object) -> Object | None:
        """Create; None if an object of that name exists already."""
        kind = kind_of(value)
        try:
            path = kind.path(value["metadata"].get("namespace"))
            return await self.call("POST", path, [("fieldManager", MANAGER)], value, kind=kind, verb="create")
        except ConflictError as error:
            if error.reason != "AlreadyExists":
                raise
            return None

    async def replace(self, value: Object) -> Object:
        """Replace an object at the resourceVersion that it carries. Raises ConflictError if it has moved on."""
        kind, metadata = kind_of(value), value["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"])
        return await self.call("PUT", path, [("fieldManager", MANAGER)], value, kind=kind, verb="replace")

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        subresource: str = "",
        content: str = MERGE,
    ) -> Object:
        """Patch by JSON merge (or what ``content`` says). A resourceVersion in its metadata is a precondition."""
        path = kind.path(namespace, name, subresource)
        return await self.call("PATCH", path, [("fieldManager", MANAGER)], body, kind=kind, verb="patch", content=content)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> bool:
        """Delete the object if it still has this UID; whether it was there. What it owns goes in the background."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self.call("DELETE", kind.path(namespace, name), (), body, kind=kind, verb="delete")
        except NotFoundError:
            return False
        except ConflictError as error:
            if error.reason != "Conflict":
                raise
            return False
        return True

    async def call(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        *,
        kind: Kind | None = None,
        verb: str = "",
        content: str = "application/json",
        accept: str = "application/json",
        timeout: aiohttp.ClientTimeout = _CALL,
    ) -> Object:
        """One call; returns its answer. ``verb`` names a write in the metrics."""
        name = kind.name if kind else "other"
        if verb:
            self._monitoring.writes.labels(name, verb).inc()
        try:
            status, headers, text = await self._send(method, path, query, body, content, accept, timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._monitoring.errors.labels(name, "none").inc()
            said = str(error) or type(error).__name__
            raise UnavailableError(0, "Unreachable", f"the API server does not answer: {said}") from error
        told = _decoded(text)
        if status < 300 and isinstance(told, dict):
            return told
        self._monitoring.errors.labels(name, str(status)).inc()
        told = told if isinstance(told, dict) else {}
        message = str(told.get("message") or f"HTTP {status} for {path}")[:2048]
        raise api_error(502 if status < 300 else status, str(told.get("reason") or ""), message, _retry_after(headers))

    async def _send(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: Any,
        content: str,
        accept: str,
        timeout: aiohttp.ClientTimeout,
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Accept": accept, "Content-Type": content}
        request = await self._client.param_serialize(
            method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        answer = await self._client.call_api(*request, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        return response.status, response.headers, await response.read()


def _decoded(text: bytes) -> Any:
    """JSON; None for anything else. An object of ours may hold lists in lists to a depth that orjson refuses."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
    return None


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0
