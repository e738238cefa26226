"""The APIService of external.metrics.k8s.io: ours while it is free, nobody else's ever, and gone before we are.

An APIService whose server is gone keeps every namespace of the cluster from being deleted. So it is registered by the server
itself, at run time, and deleted as soon as the namespace of the server is being deleted.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from arklex_operator.cluster.api import MERGE, Api
from arklex_operator.cluster.errors import ConflictError, ForbiddenError, NotFoundError
from arklex_operator.load.source import API_SERVICE, MANAGED_BY, OWNER, ours
from arklex_operator.metrics import documents
from arklex_operator.metrics.options import MANAGER, Options

PATH = "/apis/apiregistration.k8s.io/v1/apiservices"


class State(StrEnum):
    """What became of the registration."""

    OURS = "ours"
    FOREIGN = "foreign"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Registered:
    """The state, and for people what it means."""

    state: State
    message: str


def wanted(options: Options, bundle: str) -> dict[str, Any]:
    """The APIService as it should be; ``bundle`` are the CAs in PEM."""
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": API_SERVICE, "labels": {MANAGED_BY: OWNER, "app.kubernetes.io/part-of": "arklex"}},
        "spec": {
            "group": documents.GROUP,
            "version": documents.VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"namespace": options.namespace, "name": options.service, "port": options.service_port},
            "caBundle": base64.b64encode(bundle.encode()).decode(),
        },
    }


class Registration:
    """Keeps the APIService as it should be."""

    def __init__(self, api: Api, options: Options) -> None:
        self._api, self._options = api, options

    async def reconcile(self, bundle: str) -> Registered:
        """Register, repair, leave alone or delete, by what there is now. Raises ApiError."""
        if await self.leaving():
            await self.remove()
            return Registered(State.LEAVING, f"namespace {self._options.namespace} is being deleted: {API_SERVICE} is deleted")
        document = wanted(self._options, bundle)
        found = await self._api.raw(f"{PATH}/{API_SERVICE}")
        if found is None:
            found = await self._create(document)
        holder = self._holder(found)
        if not ours(found) or (holder is not None and not await self._gone(holder)):
            return Registered(
                State.FOREIGN,
                f"{API_SERVICE} belongs to {holder or 'the API server'}: it is left alone, and Workers scale on another source",
            )
        if not _contains(found, _without_bundle(document)) or not _trusts(found, bundle):
            body = _preconditioned(document, found)
            await self._api.call("PATCH", f"{PATH}/{API_SERVICE}", MANAGER, body, content=MERGE)
        return Registered(State.OURS, f"{API_SERVICE} is served by {self._options.service}.{self._options.namespace}")

    async def leaving(self) -> bool:
        """Whether our own namespace is being deleted, or gone. Raises ApiError."""
        namespace = await self._api.raw(f"/api/v1/namespaces/{self._options.namespace}")
        return namespace is None or "deletionTimestamp" in namespace["metadata"]

    async def remove(self) -> bool:
        """Delete the APIService if it is ours; answers whether it was. Raises ApiError."""
        found = await self._api.raw(f"{PATH}/{API_SERVICE}")
        if found is None or not ours(found) or self._holder(found) is not None:
            return False
        metadata = found["metadata"]
        preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            await self._api.call("DELETE", f"{PATH}/{API_SERVICE}", (), {"preconditions": preconditions})
        except NotFoundError:  # the other replica was first
            return False
        return True

    def _holder(self, found: Mapping[str, Any]) -> str | None:
        """The service that it points to, as namespace/name, None when that is ours."""
        service = found["spec"].get("service") or {}
        if (service.get("namespace"), service.get("name")) == (self._options.namespace, self._options.service):
            return None
        return f"{service.get('namespace')}/{service.get('name')}"

    async def _create(self, document: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._api.call("POST", PATH, MANAGER, document)
        except ConflictError:  # the other replica was first
            return await self._api.call("GET", f"{PATH}/{API_SERVICE}")

    async def _gone(self, holder: str) -> bool:
        """Whether it was left behind by an installation whose namespace is gone; where we may not see that, it is not."""
        try:
            namespace = await self._api.raw(f"/api/v1/namespaces/{holder.partition('/')[0]}")
        except ForbiddenError:
            return False
        return namespace is None or "deletionTimestamp" in namespace["metadata"]


def _without_bundle(document: Mapping[str, Any]) -> dict[str, Any]:
    return {**document, "spec": {key: value for key, value in document["spec"].items() if key != "caBundle"}}


def _trusts(found: Mapping[str, Any], bundle: str) -> bool:
    """Whether the newest CA of ``bundle`` is trusted. One that a replica with a newer certificate added stays."""
    trusted = base64.b64decode(found["spec"].get("caBundle") or "").decode(errors="replace")
    end = "-----END CERTIFICATE-----"
    return bundle.partition(end)[0] + end in trusted


def _contains(found: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether every field of ``document`` is so in ``found``."""
    return all(
        _contains(found.get(key) or {}, value) if isinstance(value, Mapping) else found.get(key) == value
        for key, value in document.items()
    )


def _preconditioned(document: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {**document["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}
    return {**document, "metadata": metadata}
