"""Objects of the API server as the small facts that TaskGraphs are judged by; whole objects are not kept.

Nothing here raises, whatever is in an object: what cannot be read is a problem of the graph, or a fact that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from arklex_api.base import JSON
from arklex_api.lint import own_problems
from arklex_api.objects import normalised, read_object
from arklex_api.paths import render
from arklex_api.plan import compile_graph
from arklex_api.problems import ManifestError, Problem
from arklex_api.schedules import schedule_problem
from arklex_api.suggest import Suggester
from arklex_api.taskgraph import History, Schedule, TaskGraph, TaskGraphSpec
from arklex_api.uses import Uses, WorkerUse, uses_of
from arklex_api.versions import DIGEST, RERUN, again, digest_of

SCHEDULED = "arklex.ai/scheduled-at"
"""Annotation of a TaskGraphRun: the time of its schedule that it is for, RFC 3339."""
TERMINAL = frozenset({"Succeeded", "Failed", "Cancelled"})
_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GraphText:
    """What a graph's spec says, judged by itself.

    ``digest`` is that of what a run of it depends on, ``run`` and ``scheduled`` are what such runs are given. ``schedule`` is
    None if it is wrong, ``history`` if the spec cannot be read: then nothing is to be forgotten.
    """

    problems: tuple[Problem, ...]
    uses: Uses
    digest: str
    run: dict[str, JSON] | None = None
    scheduled: dict[str, JSON] | None = None
    schedule: Schedule | None = None
    suspend: bool = False
    history: History | None = None


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """One TaskGraph. ``status`` is as the API server has it, the runtime's part included."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    deleting: bool
    text: GraphText
    digest: str | None
    rerun: str | None
    status: Mapping[str, Any]

    @property
    def wanted(self) -> str:
        """The digest that spec.run should have run: of what it runs, and of the token that asks for it again."""
        return again(self.text.digest, self.rerun)


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """One Worker as graphs see it. ``type`` is None where it cannot be read; ``idle``: at zero by choice."""

    name: str
    type: str | None
    accepted: bool
    ready: bool
    idle: bool


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One TaskGraphRun: whose it is, how far, and the time of the schedule it is for, if any."""

    name: str
    uid: str
    graph: str
    owner: str | None
    phase: str | None
    created: datetime
    completed: datetime
    scheduled: datetime | None
    cancelled: bool
    deleting: bool

    @property
    def finished(self) -> bool:
        """Whether it has ended, whichever way."""
        return self.phase in TERMINAL


def read_graph(body: Mapping[str, Any], before: GraphFacts | None = None) -> GraphFacts:
    """The facts of a TaskGraph; its text is not read again if ``before`` are facts of the same generation of it."""
    metadata = _map(body.get("metadata"))
    uid, generation = str(metadata.get("uid", "")), metadata.get("generation")
    generation = generation if isinstance(generation, int) else 0
    known = before is not None and (before.uid, before.generation) == (uid, generation)
    annotations = _map(metadata.get("annotations"))
    return GraphFacts(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        uid=uid,
        generation=generation,
        created=read_time(metadata.get("creationTimestamp")) or _ZERO,
        deleting="deletionTimestamp" in metadata,
        text=before.text if before is not None and known else _read_text(body),
        digest=_own_digest(annotations.get(DIGEST), metadata.get("name")),
        rerun=annotations.get(RERUN) or None,
        status=_map(body.get("status")),
    )


def read_worker(body: Mapping[str, Any]) -> WorkerFacts:
    """The facts of a Worker."""
    spec, status = _map(body.get("spec")), _map(body.get("status"))
    kind, scaling = spec.get("type"), _map(spec.get("scaling"))
    zero = scaling.get("minReplicas") == 0 and not status.get("desiredReplicas") and "readyReplicas" in status
    return WorkerFacts(
        name=str(_map(body.get("metadata")).get("name", "")),
        type=kind if isinstance(kind, str) else None,
        accepted=condition(status, "Accepted").get("status") == "True",
        ready=bool(status.get("readyReplicas")),
        idle=zero and not status.get("readyReplicas"),
    )


def read_run(body: Mapping[str, Any]) -> RunFacts:
    """The facts of a TaskGraphRun."""
    metadata, spec, status = (_map(body.get(part)) for part in ("metadata", "spec", "status"))
    owners = metadata.get("ownerReferences") or []
    owner = next((each.get("uid") for each in owners if each.get("controller") and each.get("kind") == "TaskGraph"), None)
    created = read_time(metadata.get("creationTimestamp")) or _ZERO
    return RunFacts(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        graph=str(spec.get("graph", "")),
        owner=owner,
        phase=status.get("phase"),
        created=created,
        completed=read_time(status.get("completionTime")) or created,
        scheduled=read_time(_map(metadata.get("annotations")).get(SCHEDULED)),
        cancelled=spec.get("cancel") is True,
        deleting="deletionTimestamp" in metadata,
    )


def read_time(text: object) -> datetime | None:
    """An RFC 3339 time as Kubernetes writes it; None for anything else."""
    try:
        time = datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
    return time if time is None or time.tzinfo is not None else time.replace(tzinfo=UTC)


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of a type; empty if there is none."""
    conditions = status.get("conditions")
    found = (each for each in conditions if _map(each).get("type") == kind) if isinstance(conditions, list) else ()
    return next(iter(found), {})


def _own_digest(annotation: object, name: object) -> str | None:
    owner, _, digest = str(annotation or "").partition("/")
    return digest if digest and owner == name else None


def _read_text(body: Mapping[str, Any]) -> GraphText:
    spec = _map(body.get("spec"))
    try:
        graph = read_object(TaskGraph, body)
    except ManifestError as error:
        return GraphText(tuple(error.problems), Uses(), "")
    return _judged(graph, spec, digest_of(spec))


def _judged(graph: TaskGraph, spec: Mapping[str, Any], digest: str) -> GraphText:
    schedule = graph.spec.schedule
    if schedule is not None and schedule_problem(schedule.cron, schedule.time_zone) is not None:
        schedule = None
    return GraphText(
        problems=tuple(_own_problems(graph.spec)),
        uses=_distinct(uses_of(graph.spec)),
        digest=digest,
        run=None if graph.spec.run is None else normalised(spec["run"]),
        scheduled=None if schedule is None or schedule.run is None else normalised(spec["schedule"]["run"]),
        schedule=schedule,
        suspend=graph.spec.suspend,
        history=graph.spec.history,
    )


def _own_problems(spec: TaskGraphSpec) -> list[Problem]:
    try:
        compile_graph(spec)
        problems = []
    except ManifestError as error:
        problems = list(error.problems)
    return problems + [Problem(render(found.steps), found.reason, found.message) for found in own_problems(spec, Suggester())]


def _distinct(uses: Uses) -> Uses:
    """The first of all uses that are judged alike: a thousand tasks of one Worker are one fact."""
    workers: dict[object, WorkerUse] = {}
    for use in uses.workers:
        workers.setdefault((use.name, use.bare is None, use.for_tool), use)
    graphs = {name: steps for steps, name in reversed(uses.graphs)}
    return Uses(tuple(workers.values()), uses.tools, tuple((steps, name) for name, steps in graphs.items()))


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
