"""What the door serves (``gateway.ports.Desk``), over the replica and the objects it knows."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from arklex_api.base import JSON
from arklex_runtime.engine.document import run_document
from arklex_runtime.engine.history import history
from arklex_runtime.engine.program import Program
from arklex_runtime.errors import ConflictError, GraphNotFoundError, Overloaded, RunNotFound, ValidationError
from arklex_runtime.gateway.ports import Order
from arklex_runtime.kube.ports import Origin
from arklex_runtime.orchestrator.requests import Request
from arklex_runtime.orchestrator.sources import tenant_session
from arklex_runtime.service.ports import Cluster
from arklex_runtime.service.replica import LocalReplica
from arklex_runtime.state.records import AttemptLog, RunRow

DURABLE = 1.0
"""Seconds to wait until what a run's state shows is durable, before the journal itself is asked."""
_DIGITS = "0123456789abcdefghijklmnopqrstuv"


class RuntimeDesk:
    """See Desk."""

    def __init__(self, replica: LocalReplica, cluster: Cluster) -> None:
        self._replica = replica
        self._cluster = cluster

    async def start(self, namespace: str, graph: str, order: Order) -> tuple[str, str]:
        """See Desk."""
        if not self._cluster.serves(namespace):
            raise GraphNotFoundError(f"there is no TaskGraph '{graph}' in namespace '{namespace}'")
        self._replica.check_room()
        if not self._cluster.synced:
            raise Overloaded("the objects are not all known yet: ask again", 1.0)
        run_id = keyed_id(namespace, graph, order.key) if order.key is not None else None
        if run_id is not None and (phase := await self._earlier(namespace, run_id, order)):
            return run_id, phase
        program, uid = self._cluster.program_of(namespace, graph)
        request = Request(
            order.query, order.input, order.context or {}, tenant_session(program.namespace, order.session_id), run_id
        )
        try:
            return await self._replica.start(program, request, Origin(uid)), "Running"
        except ConflictError:
            if run_id is None:
                raise
            phase = await self._earlier(namespace, run_id, order)
            if phase is None:
                raise
            return run_id, phase

    async def _earlier(self, namespace: str, run_id: str, order: Order) -> str | None:
        """The phase of the run that had this key, None if there is none. Raises ValidationError if it was another's."""
        found = await self._replica.journal.records(run_ids=[run_id])
        if not found or found[0].namespace != namespace:
            return None
        _, program, state = await self._replica.host.stored(run_id)
        base = state.root.base if state.root is not None else {}
        session = tenant_session(program.namespace, order.session_id)
        given = (order.query, _accepted(program, order.input), order.context or {}, session)
        if given != (base.get("query"), base.get("input"), base.get("context"), found[0].session_id):
            raise ValidationError("Idempotency-Key: was used for another request")
        return found[0].phase

    async def wait(self, run_id: str, seconds: float) -> bool:
        """See Desk."""
        return await self._replica.wait(run_id, seconds)

    async def runs(self, namespace: str, phase: str | None, graph: str | None, limit: int) -> list[RunRow]:
        """See Desk."""
        if not self._cluster.serves(namespace):
            return []
        return await self._replica.journal.list_runs(phase, graph, limit, namespace)

    async def _check(self, namespace: str, run_id: str) -> RunRow:
        found = await self._replica.journal.records(run_ids=[run_id])
        if not found or found[0].namespace != namespace or not self._cluster.serves(namespace):
            raise RunNotFound(run_id)
        return found[0]

    async def document(self, namespace: str, run_id: str) -> dict[str, Any]:
        """See Desk."""
        await self._check(namespace, run_id)
        host = self._replica.host
        deadline = host.loop.time() + DURABLE
        while (driver := host.runs.get(run_id)) is not None and driver.committed < driver.latest:
            if host.loop.time() > deadline:
                break
            await asyncio.sleep(0.005)
        if driver is not None and driver.committed >= driver.latest:
            return run_document(driver.state, driver.program.root)
        stored, _, state = await host.stored(run_id)
        return run_document(state, stored.row.graph)

    async def history(self, namespace: str, run_id: str) -> list[dict[str, Any]]:
        """See Desk."""
        await self._check(namespace, run_id)
        stored, program, _ = await self._replica.host.stored(run_id)
        return history(program, stored.events)

    async def logs(self, namespace: str, run_id: str) -> list[AttemptLog]:
        """See Desk."""
        await self._check(namespace, run_id)
        return await self._replica.journal.attempt_logs(run_id)

    async def cancel(self, namespace: str, run_id: str, reason: str) -> None:
        """See Desk."""
        await self._check(namespace, run_id)
        await self._replica.host.cancel(run_id, reason)

    async def approve(self, namespace: str, run_id: str, task: str, *, approved: bool, by: str | None, data: JSON) -> None:
        """See Desk."""
        await self._check(namespace, run_id)
        await self._replica.approve(run_id, task, approved=approved, by=by, data=data)


def _accepted(program: Program, given: JSON) -> JSON:
    try:
        return program.inputs[program.root].accept({} if given is None else given, "input")
    except ValueError:
        return given


def keyed_id(namespace: str, graph: str, key: str) -> str:
    """The id of the run that a key starts: the same for the same key, by whatever replica."""
    digest = hashlib.sha256(f"{namespace}\0{graph}\0{key}".encode()).digest()
    number = int.from_bytes(digest[:10], "big")
    digits = "".join(_DIGITS[(number >> shift) & 31] for shift in range(75, -1, -5))
    return "-".join((graph[:40].rstrip("-."), digits))
