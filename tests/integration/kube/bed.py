"""What the tests of ``kube`` share: a namespace of their own on a real API server, replicas, and waiting."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from arklex_runtime.kube.api import Api
from arklex_runtime.kube.link import ClusterLink
from arklex_runtime.kube.rights import RULES
from tests.controlplane import ControlPlane
from tests.integration.kube.replica import SmallReplica, World

PATIENCE = 60.0


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "arklex.ai/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def worker(name: str) -> dict[str, Any]:
    return _object("Worker", name, {"type": "custom", "config": {"handler": "m:f"}})


def graph(name: str, *tasks: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return _object("TaskGraph", name, {"tasks": list(tasks), **spec})


def run(name: str, graph: str, **spec: Any) -> dict[str, Any]:
    return _object("TaskGraphRun", name, {"graph": graph, **spec})


def call(name: str, worker: str = "echo", given: Any = None, **fields: Any) -> dict[str, Any]:
    return {"name": name, "worker": worker, "with": given or {}, **fields}


class Gate:
    """A handler that waits to be let go."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered = 0

    async def __call__(self, inputs: Any) -> Any:
        self.entered += 1
        await self.open.wait()
        return inputs


class Bed:
    """One namespace and the replicas that look after it."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.namespace = f"t{uuid.uuid4().hex[:8]}"
        self.world = World()
        self.db = f"sqlite:///{folder / 'journal.db'}"
        plane.kubectl("create", "namespace", self.namespace)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.plane.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    async def apply(self, *objects: dict[str, Any]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        await asyncio.to_thread(self.kubectl, "apply", "--server-side", "--filename=-", stdin=text)

    async def patch(self, what: str, patch: dict[str, Any], *more: str) -> None:
        await asyncio.to_thread(self.kubectl, "patch", what, "--type=merge", f"--patch={json.dumps(patch)}", *more)

    async def apply_status(self, text: dict[str, Any]) -> None:
        """Write a status as the operator does."""
        how = ("--server-side", "--subresource=status", "--field-manager=arklex-operator", "--filename=-")
        await asyncio.to_thread(self.kubectl, "apply", *how, stdin=json.dumps(text))

    async def delete(self, what: str) -> None:
        await asyncio.to_thread(self.kubectl, "delete", what, "--wait=false")

    async def get(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await asyncio.to_thread(self.kubectl, "get", what, "--output=json"))
        return found

    async def status(self, what: str) -> dict[str, Any]:
        return dict((await self.get(what)).get("status") or {})

    async def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The status of an object once it is as wanted."""
        deadline = time.monotonic() + PATIENCE
        while not holds(status := await self.status(what)):
            assert time.monotonic() < deadline, status
            await asyncio.sleep(0.1)
        return status

    async def phase(self, what: str, phase: str) -> dict[str, Any]:
        """The status of an object once it has this phase."""
        return await self.until(what, lambda status: status.get("phase") == phase)

    async def events(self, about: str) -> dict[str, str]:
        """By reason, the notes of the events about an object."""
        found = json.loads(await asyncio.to_thread(self.kubectl, "get", "events.events.k8s.io", "--output=json"))
        return {each["reason"]: each["note"] for each in found["items"] if each["regarding"]["name"] == about}

    def writes(self, user: str = "") -> list[dict[str, Any]]:
        """The writes to objects of this namespace in the API server's audit log, by users whose name contains ``user``."""
        found = []
        for line in self.plane.audit_log.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                entry = json.loads(line)
                about, name = entry.get("objectRef") or {}, entry["user"]["username"]
                if about.get("namespace") == self.namespace and entry["verb"] in ("create", "patch") and user in name:
                    found.append({"at": entry["requestReceivedTimestamp"], "verb": entry["verb"], **about})
        return found

    def account(self) -> Path:
        """The kubeconfig of a ServiceAccount of this namespace with the runtime's rights and no others."""
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "runtime"}}
        self.kubectl("apply", "--filename=-", stdin=json.dumps({**role, "rules": list(RULES)}))
        self.kubectl("create", "rolebinding", "runtime", "--role=runtime", f"--serviceaccount={self.namespace}:runtime")
        return self.plane.service_account(self.namespace, "runtime")

    async def event(self, about: str, reason: str) -> str:
        """The note of an event once it is there."""
        deadline = time.monotonic() + PATIENCE
        while reason not in (found := await self.events(about)):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.1)
        return found[reason]

    @contextlib.asynccontextmanager
    async def replica(self, name: str = "r1", kubeconfig: Path | None = None, **workers: Any) -> AsyncIterator[Running]:
        """A replica that watches this namespace."""
        replica = await SmallReplica.open(name, self.world, self.db, **{"echo": lambda inputs: inputs, **workers})
        link = ClusterLink(
            replica, await Api.connect(kubeconfig or self.plane.kubeconfig), namespaces=[self.namespace], instance=name
        )
        task = asyncio.create_task(link.run())
        try:
            yield Running(replica, link)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await link.aclose()
            await replica.aclose()


class Running:
    """A replica and its link."""

    def __init__(self, replica: SmallReplica, link: ClusterLink) -> None:
        self.replica = replica
        self.link = link

    async def until_phase(self, run_id: str, phase: str) -> None:
        """Wait until the journal says so."""

        async def holds() -> bool:
            return [each.phase for each in await self.replica.records(run_ids=[run_id])] == [phase]

        await eventually(holds)

    async def until_known(self, namespace: str, graph: str, worker: str) -> None:
        """Wait until the watches have told of a graph and its worker."""

        async def holds() -> bool:
            objects = self.link.objects
            return bool(objects.graph(namespace, graph) and objects.pool(namespace, worker))

        await eventually(holds)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not await holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """(status, reason) by type."""
    return {each["type"]: (each["status"], each["reason"]) for each in status.get("conditions", ())}
