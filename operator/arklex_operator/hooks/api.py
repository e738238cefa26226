"""The few calls of the hooks to the API server: JSON in, JSON out, over the official client's transport."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import orjson
from kubernetes.aio import client, config

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""

METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""The Accept header of a list without specs and statuses."""

_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)


class HookError(Exception):
    """The hook cannot do its work; the words say what failed, and what may help."""


class ApiRefused(HookError):
    """The API server answered with an error: ``status`` is the HTTP code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The API server."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    async def call(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> Object:
        """One call. Raises ApiRefused with the server's words, HookError when it cannot be reached."""
        headers = {"Accept": accept, "Content-Type": content}
        try:
            request = await self._transport.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._transport.call_api(*request, _request_timeout=_TIMEOUT)
            text = await answer.response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise HookError(f"the API server cannot be reached: {str(error) or type(error).__name__}") from error
        told = _json(text)
        if answer.response.status >= 300:
            raise ApiRefused(answer.response.status, str(told.get("message") or f"{method} {path}: {answer.response.status}"))
        return told

    async def find(self, path: str) -> Object | None:
        """One object, or None where there is none."""
        return await self._unless_missing(self.call("GET", path))

    async def delete(self, path: str, uid: str | None = None) -> bool:
        """Delete an object, if it still is the one with ``uid``; return whether there was one."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        return await self._unless_missing(self.call("DELETE", path, body)) is not None

    async def merge(self, path: str, body: Object) -> Object | None:
        """Merge ``body`` into an object; None where there is none."""
        return await self._unless_missing(self.call("PATCH", path, body, content="application/merge-patch+json"))

    async def names(self, path: str, labels: str = "") -> list[tuple[str, str]]:
        """Namespace and name of all objects below a path; none where the kind is unknown."""
        found: list[tuple[str, str]] = []
        query = {"limit": "500", "labelSelector": labels}
        while True:
            page = await self._unless_missing(self.call("GET", path, query=query, accept=METADATA))
            if page is None:
                return found
            found += [(item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in page.get("items") or ()]
            if not (token := page["metadata"].get("continue")):
                return found
            query["continue"] = token

    async def _unless_missing(self, call: Any) -> Object | None:
        try:
            answer: Object = await call
        except ApiRefused as error:
            if error.status != 404:
                raise
            return None
        return answer


@contextlib.asynccontextmanager
async def connect(kubeconfig: Path | None = None) -> AsyncIterator[Api]:
    """The API server, as the pod's service account or as ``kubeconfig`` says. Raises HookError where there is neither."""
    configuration: Any = client.Configuration()
    load: Any = config.load_kube_config if kubeconfig else config.load_incluster_config
    try:
        if kubeconfig:
            await load(config_file=str(kubeconfig), client_configuration=configuration)
        else:
            load(client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise HookError(f"there is no way to the API server: {error}") from error
    transport: Any = client.ApiClient(configuration)
    try:
        yield Api(transport)
    finally:
        await transport.close()


def _json(text: bytes) -> Object:
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"message": text[:500].decode(errors="replace")}
    return told if isinstance(told, dict) else {"message": str(told)}
