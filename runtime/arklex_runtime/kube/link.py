"""The runtime's side of the API server: what it watches there, does about it and reports (design.md, "How a request flows").

One object, made by the service's main; ``run`` until cancelled. The API server may be away for as long as it likes: runs go on,
and what there is to report is written when it is back.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from arklex_runtime.engine.program import Program
from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.kube.api import GRAPHS, KINDS, RUNS, Api, Kind, Object
from arklex_runtime.kube.catalog import Catalog
from arklex_runtime.kube.conditions import TERMINAL
from arklex_runtime.kube.errors import ApiError, ApiNotFound
from arklex_runtime.kube.events import Events
from arklex_runtime.kube.facts import Facts
from arklex_runtime.kube.intake import AGAIN, CANCEL, TURN, Intake
from arklex_runtime.kube.objects import Entry, Objects
from arklex_runtime.kube.ports import Replica, RunRecord
from arklex_runtime.kube.reports import HOLD, Reports
from arklex_runtime.kube.telling import Telling
from arklex_runtime.kube.wakes import Wakes
from arklex_runtime.kube.watching import Watcher
from arklex_runtime.observability.logs import get_logger

SWEEP = 5.0
"""Seconds between two comparisons of objects and journal: what another replica left behind when it died is found by them."""

REMAINS = 600.0
"""Seconds between two looks for what TaskGraphs that are gone have left in the journal."""

Item: TypeAlias = tuple[str, ...]
"""``("run", namespace, name)``, ``("deleted", kind, uid, namespace)``, ``("sweep",)`` or ``("remains",)``."""


class ClusterLink:
    """See the module. ``namespaces`` empty: all. ``instance`` is this replica's name in events."""

    def __init__(
        self,
        replica: Replica,
        api: Api,
        *,
        namespaces: Sequence[str] = (),
        writes_per_second: int = 20,
        instance: str = "arklex-runtime",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.objects = Objects()
        self.catalog = Catalog(self.objects)
        self.events = Events(api, instance, clock=clock)
        self._telling = Telling(self.objects, self.events, replica)
        self.intake = Intake(self.objects, self.catalog, replica, self._telling, clock)
        self.reports = Reports(
            api,
            self.objects,
            Facts(self.objects, self.intake, replica),
            replica,
            self._telling.asks,
            writes_per_second=writes_per_second,
            clock=clock,
        )
        self._telling.intake, self._telling.reports = self.intake, self.reports
        self.watchers = [Watcher(api, kind, each, self, clock=clock) for kind in KINDS for each in namespaces or (None,)]
        self._wakes: Wakes[Item] = Wakes(self._look, clock)
        self._api = api
        self._replica = replica
        self._namespaces = tuple(namespaces)
        self._suspects: set[str] = set()
        self._log = get_logger("arklex.kube")

    def serves(self, namespace: str) -> bool:
        """Whether this installation looks after ``namespace``."""
        return not self._namespaces or namespace in self._namespaces

    def program_of(self, namespace: str, graph: str) -> tuple[Program, str]:
        """What a run of this TaskGraph runs now, and the TaskGraph's UID. Raises as ``Catalog.program_of`` does."""
        program = self.catalog.program_of(namespace, graph)
        entry = self.objects.graph(namespace, graph)
        return program, entry.uid if entry is not None else ""

    @property
    def synced(self) -> bool:
        """Whether everything was listed once: before that nothing is started or cancelled."""
        return all(watcher.synced.is_set() for watcher in self.watchers)

    @property
    def healthy(self) -> bool:
        """False when a loop hangs, which a restart heals; an API server that is away leaves it True."""
        return not any(watcher.stuck for watcher in self.watchers)

    async def run(self) -> None:
        """Watch, start, report, until cancelled."""
        self._replica.listen(self._telling.heard)
        async with asyncio.TaskGroup() as group:
            for watcher in self.watchers:
                group.create_task(watcher.run())
            group.create_task(self.events.run())
            for watcher in self.watchers:
                await watcher.synced.wait()
            self._wakes.wake(("sweep",))
            self._wakes.wake(("remains",), REMAINS)
            group.create_task(self._wakes.run())
            group.create_task(self.reports.run())

    def taken_over(self, run_id: str) -> None:
        """Tell people that this replica goes on with a run whose owner is gone."""
        self._telling.taken_over(run_id)

    async def aclose(self) -> None:
        """Close the connections, after ``run`` has ended."""
        await self._api.aclose()

    def listed(self, kind: Kind, namespace: str | None, objects: list[Object]) -> None:
        """All there is of a kind: what is missing was deleted while nobody watched."""
        there = {str(given["metadata"]["uid"]) for given in objects}
        for entry in self.objects.among(kind, namespace):
            if entry.uid not in there:
                self._gone(kind, entry)
        for given in objects:
            self.changed(kind, given)

    def changed(self, kind: Kind, given: Object) -> None:
        """An object was made or changed."""
        entry, before = self.objects.put(kind, given)
        if before is not None and before.uid != entry.uid:
            self._told_gone(kind, before)
            before = None
        if kind is RUNS:
            self._run_changed(entry, before)
            return
        if before is None or before.generation != entry.generation or _judgement(before) != _judgement(entry):
            for name in self.intake.pending(entry.namespace):
                self._wakes.wake(("run", *name))
            if kind is GRAPHS and not self._replica.rank(entry.uid):
                self.reports.want("graph", *entry.key, hold=HOLD)

    def _run_changed(self, entry: Entry[Any], before: Entry[Any] | None) -> None:
        phase = entry.status.get("phase")
        if phase not in TERMINAL:
            if before is None or before.generation != entry.generation:
                self._wakes.wake(("run", *entry.key))
        elif entry.uid in self.intake.seen:
            self._wakes.wake(("run", *entry.key))
        if before is not None and before.status.get("phase") != phase and entry.model is not None:
            graph = self.objects.graph(entry.namespace, entry.model.spec.graph)
            if graph is not None and not self._replica.rank(graph.uid):
                self.reports.want("graph", *graph.key, urgent=True, hold=HOLD)

    def deleted(self, kind: Kind, given: Object) -> None:
        """An object is gone."""
        metadata = given["metadata"]
        entry = self.objects.remove(kind, metadata["namespace"], metadata["name"], str(metadata["uid"]))
        if entry is not None:
            self._told_gone(kind, entry)

    def _gone(self, kind: Kind, entry: Entry[Any]) -> None:
        if self.objects.remove(kind, *entry.key, entry.uid) is not None:
            self._told_gone(kind, entry)

    def _told_gone(self, kind: Kind, entry: Entry[Any]) -> None:
        if kind is RUNS:
            self.reports.drop("run", *entry.key)
            seen = self.intake.forget(entry.uid)
            mine = seen is not None and seen.run_id is not None and self._replica.state(seen.run_id) is not None
        else:
            self.reports.drop("graph", *entry.key)
            mine = False
        if kind in (RUNS, GRAPHS):
            after = 0.0 if mine else TURN * self._replica.rank(entry.uid)
            self._wakes.wake(("deleted", kind.name, entry.uid, entry.namespace), after)

    async def _look(self, item: Item) -> float | None:
        try:
            if item[0] == "run":
                return await self.intake.look((item[1], item[2]))
            if item[0] == "deleted":
                await self._end_runs_of(item[1], item[2], item[3])
                return None
            if item[0] == "remains":
                await self.forget_remains()
                return REMAINS
            await self._sweep()
        except (DatabaseUnavailable, ApiError) as error:
            self._log.warning("look failed", item=item[0], error=str(error))
            return {"sweep": SWEEP, "remains": REMAINS}.get(item[0], AGAIN)
        return SWEEP

    async def _end_runs_of(self, kind: str, uid: str, namespace: str) -> None:
        """Cancel what runs for an object that is gone."""
        if kind == RUNS.name:
            records = [each for each in await self._replica.records(object_uids=[uid]) if each.finished_at is None]
        else:
            records = [each for each in await self._replica.unfinished([namespace]) if each.graph_uid == uid]
        for record in records:
            await self._replica.cancel(record.run_id, f"its {kind} was deleted", CANCEL)
            self._log.info("run cancelled", run=record.run_id, namespace=namespace, reason=f"{kind} deleted")

    async def _sweep(self) -> None:
        """Compare the journal's open runs with the objects: ends that nobody reported, deletes that nobody saw."""
        records = await self._replica.unfinished(self._namespaces)
        open_ids = {record.run_id for record in records}
        for run in self.objects.runs():
            seen = self.intake.seen.get(run.uid)
            if run.status.get("phase") not in TERMINAL:
                if seen is None:
                    self._wakes.wake(("run", *run.key))
                elif seen.run_id is not None and seen.run_id not in open_ids and self._acts_for(run.uid):
                    self.reports.want("run", *run.key, urgent=True)
        active = Counter(record.graph_uid for record in records)
        for graph in self.objects.graphs():
            said = graph.status.get("runs") or {}
            last = graph.status.get("lastRun") or {}
            stale = last.get("name") is not None and last.get("phase") not in TERMINAL and not active[graph.uid]
            if (stale or said.get("active", 0) != active[graph.uid]) and self._acts_for(graph.uid):
                self.reports.want("graph", *graph.key, urgent=True, hold=1.0)
        await self._end_orphans(records)

    def _acts_for(self, uid: str) -> bool:
        return self._replica.rank(uid) == 0

    async def _end_orphans(self, records: Iterable[RunRecord]) -> None:
        """Cancel runs whose object is gone: missing in two sweeps, and missing when the API server is asked."""
        runs, graphs = {run.uid for run in self.objects.runs()}, {graph.uid for graph in self.objects.graphs()}
        missing: dict[str, tuple[Kind, RunRecord]] = {}
        for record in records:
            if record.object_uid is not None and record.object_uid not in runs:
                missing[record.object_uid] = RUNS, record
            if record.graph_uid is not None and record.graph_uid not in graphs:
                missing[record.graph_uid] = GRAPHS, record
        again, self._suspects = self._suspects & missing.keys(), set(missing)
        for uid in again:
            kind, record = missing[uid]
            names = [record.graph] if kind is GRAPHS else [record.run_id, record.run_id[:-9]]
            if self._acts_for(uid) and not await self._exists(kind, record.namespace, names, uid):
                await self._end_runs_of(kind.name, uid, record.namespace)

    async def forget_remains(self) -> None:
        """Forget the counts of TaskGraphs that are gone, once no run is left of them. Raises DatabaseUnavailable, ApiError."""
        there = {graph.uid for graph in self.objects.graphs()}
        for uid, namespace, graph in await self._replica.counted():
            if uid in there or not self.serves(namespace) or not self._acts_for(uid):
                continue
            if not await self._exists(GRAPHS, namespace, [graph], uid):
                await self._replica.forget(uid)

    async def _exists(self, kind: Kind, namespace: str, names: list[str], uid: str) -> bool:
        for name in filter(None, names):
            try:
                given = await self._api.get(kind, namespace, name)
            except ApiNotFound:
                continue
            if given["metadata"]["uid"] == uid:
                return True
        return False


def _judgement(entry: Entry[Any]) -> tuple[object, ...]:
    """What of a status others write and we act on."""
    accepted = next((each for each in entry.conditions if each.get("type") == "Accepted"), {})
    return (
        accepted.get("status"),
        accepted.get("observedGeneration"),
        entry.digest,
    )
