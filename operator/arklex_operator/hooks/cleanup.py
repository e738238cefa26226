"""Order before an uninstall: what would hold up the cluster, or stay behind, is removed while somebody can still do it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass

import redis.asyncio
from redis.exceptions import RedisError

from arklex_operator.hooks.api import Api, HookError

API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
GROUP = "/apis/arklex.ai/v1alpha1"
CONNECTION = "arklex-connection"
USERS = "arklex-"
"""What the Redis users' names begin with; the namespace's name follows."""

KINDS = ("taskgraphruns", "taskgraphs", "workers")
_PATIENCE = 60.0
"""Seconds for pods to end; a pod on a dead node never does, and does no harm."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cleanup:
    """The release in ``namespace``, and where it serves: ``namespaces``, or everywhere when empty."""

    api: Api
    namespace: str
    instance: str
    namespaces: Sequence[str]
    say: Say = print

    async def unregister(self, metrics: str) -> None:
        """Stop the metrics API's Deployment, which would register itself again, and remove its registration if it is ours."""
        await self.stop(metrics, "metrics")
        found = await self.api.find(API_SERVICE)
        if found is None:
            self.say("the external metrics API is not registered")
            return
        service = found["spec"].get("service") or {}
        if (service.get("namespace"), service.get("name")) != (self.namespace, metrics):
            self.say(f"the external metrics API belongs to {service.get('namespace')}/{service.get('name')}: left alone")
            return
        await self.api.delete(API_SERVICE, found["metadata"]["uid"])
        self.say("the external metrics API's registration is removed")

    async def stop(self, deployment: str, component: str) -> None:
        """Scale a Deployment to nothing, and wait until its pods have ended."""
        scale = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{deployment}/scale"
        await self.api.merge(scale, {"spec": {"replicas": 0}})
        labels = (
            f"app.kubernetes.io/name=arklex,app.kubernetes.io/instance={self.instance},app.kubernetes.io/component={component}"
        )
        deadline = time.monotonic() + _PATIENCE
        while left := await self.api.names(f"/api/v1/namespaces/{self.namespace}/pods", labels):
            if time.monotonic() > deadline:
                self.say(f"still there after {_PATIENCE:g} s, left behind: {', '.join(name for _, name in left)}")
                return
            await asyncio.sleep(0.5)
        self.say(f"{deployment} is stopped")

    async def objects(self) -> set[str]:
        """Delete all Workers, TaskGraphs and TaskGraphRuns that are served; return the namespaces that had any."""
        seen: set[str] = set()
        for kind in KINDS:
            found = [
                pair for scope in self._scopes() for pair in await self.api.names(f"/apis/arklex.ai/v1alpha1{scope}/{kind}")
            ]
            for namespace in sorted({namespace for namespace, _ in found}):
                await self.api.delete(f"{GROUP}/namespaces/{namespace}/{kind}")
                seen.add(namespace)
            self.say(f"deleted: {len(found)} {kind}")
        return seen

    async def connections(self, namespaces: Iterable[str]) -> None:
        """Delete the tenants' Secrets."""
        for namespace in sorted({*namespaces, *self.namespaces}):
            if await self.api.delete(f"/api/v1/namespaces/{namespace}/secrets/{CONNECTION}"):
                self.say(f"deleted: Secret {namespace}/{CONNECTION}")

    async def users(self, url: str, password: str | None) -> set[str]:
        """Delete the tenants' Redis users; return their namespaces. Raises HookError when Redis does not let us."""
        async with _redis(url, password) as client:
            found = {str(name) for name in await client.acl_users()}
            ours = {name for name in found if name.startswith(USERS)}
            if self.namespaces:
                ours &= {USERS + namespace for namespace in self.namespaces}
            if ours:
                await client.acl_deluser(*sorted(ours))
        self.say(f"deleted: {len(ours)} Redis users")
        return {name.removeprefix(USERS) for name in ours}

    async def secret(self, name: str) -> None:
        """Delete a Secret that a hook made."""
        if await self.api.delete(f"/api/v1/namespaces/{self.namespace}/secrets/{name}"):
            self.say(f"deleted: Secret {self.namespace}/{name}")

    def _scopes(self) -> list[str]:
        return [f"/namespaces/{name}" for name in self.namespaces] or [""]


@contextlib.asynccontextmanager
async def _redis(url: str, password: str | None) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.from_url(url, password=password, decode_responses=True, socket_timeout=10, socket_connect_timeout=5)
    try:
        yield client
    except RedisError as error:
        raise HookError(f"Redis: {error}; `helm uninstall --no-hooks` leaves its users behind") from error
    finally:
        await client.aclose()
