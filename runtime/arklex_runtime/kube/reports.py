"""Writes statuses: as often as is allowed, what matters most first, and only what changes something."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from arklex_runtime.engine.times import rfc3339
from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.kube.api import GRAPHS, RUNS, Api, Kind
from arklex_runtime.kube.errors import ApiConflict, ApiError, ApiNotFound
from arklex_runtime.kube.facts import Facts
from arklex_runtime.kube.objects import Entry, Graph, Objects, Run
from arklex_runtime.kube.ports import Replica
from arklex_runtime.kube.schedule import Schedule, Window
from arklex_runtime.kube.status import GRAPH_FIELDS, RUN_FIELDS, changes
from arklex_runtime.observability.logs import get_logger

Key: TypeAlias = tuple[Literal["graph", "run"], str, str]
"""(kind, namespace, name)."""

HOLD = 0.3
"""Seconds for which a first change waits for the next: a short run costs one write."""

WRITERS = 4
"""Writes under way at once: one that waits for the API server or the database does not hold the others up."""

Asks: TypeAlias = Callable[[Kind, Entry[Any], str, Sequence[str]], None]
"""Told of the approvals of a run that a status begins to show: (kind, object, run id, tasks)."""


class Reports:
    """The statuses of TaskGraphRuns and TaskGraphs."""

    def __init__(
        self,
        api: Api,
        objects: Objects,
        facts: Facts,
        replica: Replica,
        asks: Asks = lambda kind, entry, run_id, tasks: None,
        *,
        writes_per_second: int = 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.writes = 0
        self.refused = 0
        self._api = api
        self._objects = objects
        self.facts = facts
        self._replica = replica
        self._asks = asks
        self._rate = writes_per_second
        self._clock = clock
        self._window = Window(writes_per_second)
        self._schedule: Schedule[Key] = Schedule(self._window)
        self._changed = asyncio.Event()
        self._failures = 0
        self._away_until = 0.0
        self._log = get_logger("arklex.kube")

    def __len__(self) -> int:
        """Objects whose status waits to be written."""
        return len(self._schedule)

    def want(
        self, kind: Literal["graph", "run"], namespace: str, name: str, *, urgent: bool = False, hold: float = HOLD
    ) -> None:
        """The status of an object may have changed. ``urgent``: a phase did."""
        self._schedule.want((kind, namespace, name), self._clock(), urgent=urgent, hold=hold)
        self._changed.set()

    def drop(self, kind: Literal["graph", "run"], namespace: str, name: str) -> None:
        """The object is gone."""
        self._schedule.drop((kind, namespace, name))

    async def run(self) -> None:
        """Write, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            now = self._clock()
            self._window.rate = max(1, self._rate // max(1, self._replica.replicas))
            key = self._schedule.take(now) if now >= self._away_until else None
            if key is None:
                await self._rest(now)
                continue
            wrote, again = False, None
            try:
                wrote, again = await self._write(*key)
                self._failures = 0
            except ApiNotFound:
                self._log.debug("object gone", kind=key[0], namespace=key[1], name=key[2])
            except (ApiError, DatabaseUnavailable) as error:
                again = self._failed(key, error)
            except Exception:
                self._log.exception("status not written", kind=key[0], namespace=key[1], name=key[2])
                again = 30.0
            finally:
                self._schedule.done(key, self._clock(), wrote=wrote)
            if again is not None:
                self._schedule.postpone(key, self._clock(), again, urgent=True)

    async def _rest(self, now: float) -> None:
        """Until something may be due."""
        if now < self._away_until:
            await asyncio.sleep(min(self._away_until - now, 1.0))
            return
        self._changed.clear()
        wait = self._schedule.wait(now)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0 if wait is None else max(wait, 0.005)):
                await self._changed.wait()

    def _failed(self, key: Key, error: ApiError | DatabaseUnavailable) -> float:
        """The API server or the database does not take it: nobody writes for a while, and this object tries again."""
        self.refused += 1
        lasting = isinstance(error, ApiError) and not error.retryable
        if lasting or not self._failures:
            self._log.warning("status not written", kind=key[0], namespace=key[1], name=key[2], error=str(error))
        if lasting:
            return 30.0
        self._failures += 1
        wait: float = min(10.0, 0.2 * 2 ** min(self._failures, 6))
        self._away_until = self._clock() + max(wait, getattr(error, "retry_after", 0.0))
        return wait

    async def _write(self, kind: str, namespace: str, name: str) -> tuple[bool, float | None]:
        """Returns whether something was written, and the seconds until the next try, if one is needed."""
        if kind == "run":
            run = self._objects.run(namespace, name)
            return (False, None) if run is None else await self._write_run(run)
        graph = self._objects.graph(namespace, name)
        if graph is None:
            return False, None
        if not await self._replica.lease(graph.uid):
            return False, 0.5
        try:
            return await self._write_graph(graph)
        finally:
            await self._replica.give_up(graph.uid)

    async def _write_run(self, run: Run) -> tuple[bool, float | None]:
        status = await self.facts.of_run(run, rfc3339(self._replica.now()))
        if status is None:
            return False, None
        result = await self._apply(RUNS, run, status, RUN_FIELDS)
        if result[0]:
            self._asks(RUNS, run, str(status.get("runId") or run.name), _fresh(status, run.status))
        return result

    async def _write_graph(self, graph: Graph) -> tuple[bool, float | None]:
        status = await self.facts.of_graph(graph, rfc3339(self._replica.now()))
        result = await self._apply(GRAPHS, graph, status, GRAPH_FIELDS)
        last = status.get("lastRun") or {}
        if result[0] and last and self._objects.run(graph.namespace, last["name"]) is None:
            before = graph.status.get("lastRun") or {}
            self._asks(GRAPHS, graph, last["name"], _fresh(last, before if before.get("name") == last["name"] else {}))
        return result

    async def _apply(
        self, kind: Kind, entry: Entry[Any], status: dict[str, Any], fields: tuple[str, ...]
    ) -> tuple[bool, float | None]:
        if not changes(status, entry.status, fields):
            return False, None
        try:
            answer = await self._api.apply_status(kind, entry.namespace, entry.name, entry.version, status)
        except ApiConflict:
            self._objects.put(kind, await self._api.get(kind, entry.namespace, entry.name))
            return False, 0.0
        self._objects.put(kind, answer)
        self.writes += 1
        return True, None


def _fresh(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Approvals that were not shown before."""
    return [task for task in wanted.get("approvals", ()) if task not in (there.get("approvals") or ())]
