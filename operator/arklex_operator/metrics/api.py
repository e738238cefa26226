"""Kubernetes objects as JSON, read and written by path; credentials come from the pod or the kubeconfig."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import aiohttp
import orjson
from kubernetes.aio import client, config

TIMEOUT = 10.0
"""Seconds for one request."""
_PAGE = 500


class ApiError(Exception):
    """The API server refused a request, or did not answer (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One connection pool to the API server."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self._client: Any = api_client  # its methods are untyped

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None) -> Self:
        """Connect as the kubeconfig says, by default KUBECONFIG's or the user's; in a pod without one as its ServiceAccount."""
        settings, loading = client.Configuration(), cast(Any, config)  # untyped
        if kubeconfig is None and "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            loading.load_incluster_config(client_configuration=settings)
        else:
            await loading.load_kube_config(config_file=str(kubeconfig) if kubeconfig else None, client_configuration=settings)
        return cls(client.ApiClient(settings))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """An object or a list. Raises ApiError."""
        return await self.send("GET", path, query=query)

    async def find(self, path: str) -> dict[str, Any] | None:
        """An object, None when there is none. Raises ApiError for all but 404."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def items(self, path: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a collection, read in pages. Raises ApiError."""
        found: list[dict[str, Any]] = []
        query = {"limit": str(_PAGE), **({"labelSelector": selector} if selector else {})}
        while True:
            page = await self.get(path, **query)
            found += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    async def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send a request; answers the API server's JSON. Raises ApiError."""
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = await self._client.param_serialize(
            method, path, query_params=list((query or {}).items()), header_params=headers, auth_settings=["BearerToken"]
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await self._client.call_api(request[0], request[1], request[2], body, _request_timeout=TIMEOUT)
                data = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{method} {path}: {type(error).__name__} {error}".rstrip()) from error
        if not 200 <= answer.status < 300:
            raise ApiError(answer.status, f"{method} {path}: {answer.status} {_message(data)}")
        document: dict[str, Any] = orjson.loads(data)
        return document


def _message(data: bytes) -> str:
    try:
        return str(orjson.loads(data).get("message", ""))
    except (ValueError, AttributeError):
        return data[:200].decode(errors="replace").strip()
