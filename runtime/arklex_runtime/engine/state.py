"""The state of a run: what its journal folds to. Changed by ``step`` alone; read by anyone."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from heapq import heappush
from typing import Any

from arklex_api.base import JSON
from arklex_api.plan import Node, Plan

PENDING, RUNNING, SUCCEEDED, FAILED, SKIPPED, CANCELLED = "Pending", "Running", "Succeeded", "Failed", "Skipped", "Cancelled"
TERMINAL = frozenset({SUCCEEDED, FAILED, SKIPPED, CANCELLED})


class Status(IntEnum):
    """Where one unit of work is."""

    IDLE = 0
    READY = 1
    ISSUED = 2
    RUNNING = 3
    BACKOFF = 4
    APPROVAL = 5
    LOOKUP = 6
    CHILD = 7
    FALLBACK = 8
    DONE = 9


class Unit:
    """What attempts are made of: a task, or one item of a forEach.

    ``key`` names it within the run (``task``, ``task[3]``, ``parent/child``). ``stage`` is 1 once the fallback is at work.
    """

    __slots__ = (
        "attempts",
        "cache_key",
        "cached",
        "child",
        "cut",
        "error",
        "failures",
        "fallback",
        "index",
        "item",
        "key",
        "lost",
        "message",
        "stage",
        "started_at",
        "status",
        "task",
    )

    def __init__(self, task: TaskState, key: str, index: int = -1, item: JSON = None) -> None:
        self.task = task
        self.key = key
        self.index = index
        self.item = item
        self.status = Status.IDLE
        self.attempts = 0
        self.failures = 0
        self.lost = 0
        self.stage = 0
        self.started_at: float | None = None
        self.error: dict[str, Any] | None = None
        self.fallback = False
        self.cached = False
        self.cache_key: str | None = None
        self.child: Scope | None = None
        self.cut: dict[str, Any] | None = None
        self.message = ""


class TaskState:
    """One task of one scope. ``allowed``: it failed under ``onError: continue``, or its own ``when`` said no.

    ``children``: sub-graphs that a cut task waits for. ``users``: tasks that may still want it as their fallback.
    """

    __slots__ = (
        "allowed",
        "children",
        "cut",
        "done",
        "error",
        "errors",
        "finished_at",
        "has_output",
        "launched",
        "node",
        "output",
        "phase",
        "reason",
        "reused",
        "scope",
        "session",
        "started_at",
        "units",
        "users",
        "waiting",
        "wanted",
    )

    def __init__(self, scope: Scope, node: Node) -> None:
        self.scope = scope
        self.node = node
        self.phase = PENDING
        self.waiting = len(node.deps)
        self.users = len(node.fallback_for)
        self.units: list[Unit] = []
        self.launched = 0
        self.done = 0
        self.output: JSON = None
        self.has_output = False
        self.error: dict[str, Any] | None = None
        self.errors: list[dict[str, Any]] = []
        self.reason: str | None = None
        self.allowed = False
        self.children = 0
        self.wanted = False
        self.reused = False
        self.cut: tuple[str, dict[str, Any] | None, str | None] | None = None
        self.session: dict[str, JSON] = {}
        self.started_at: float | None = None
        self.finished_at: float | None = None

    @property
    def terminal(self) -> bool:
        """Whether the task's phase is final."""
        return self.phase in TERMINAL


class Scope:
    """One graph being run: the root, or a sub-graph of ``parent``. ``path`` is the prefix of its keys."""

    __slots__ = (
        "base",
        "cut",
        "depth",
        "ended",
        "error",
        "failures",
        "finally_stage",
        "forced",
        "graph",
        "halted",
        "open",
        "output",
        "parent",
        "path",
        "phase",
        "plan",
        "ready",
        "running",
        "started_at",
        "tasks",
    )

    def __init__(self, plan: Plan, graph: str, path: str, parent: Unit | None, base: dict[str, JSON], at: float) -> None:
        self.plan = plan
        self.graph = graph
        self.path = path
        self.parent = parent
        self.depth: int = 1 + parent.task.scope.depth if parent else 1
        self.base = base
        self.started_at = at
        self.tasks = [TaskState(self, node) for node in plan.nodes]
        self.ready: deque[Unit] = deque()
        self.running = 0
        self.open = plan.finals
        self.finally_stage = False
        self.forced = False
        self.halted = False
        self.ended = False
        self.cut: dict[str, Any] | None = None
        self.failures: list[tuple[str, dict[str, Any]]] = []
        self.phase = RUNNING
        self.error: dict[str, Any] | None = None
        self.output: JSON = None


class RunState:
    """A run. ``open``: every unit that waits for an event, by key; ``timers``: a heap of (due, order, kind, target, mark)."""

    __slots__ = (
        "bytes",
        "cancels",
        "events",
        "finished_at",
        "now",
        "open",
        "order",
        "refused",
        "reuse",
        "root",
        "run_id",
        "session",
        "started_at",
        "tasks",
        "timers",
    )

    def __init__(self) -> None:
        self.run_id = ""
        self.root: Scope | None = None
        self.session: dict[str, JSON] = {}
        self.open: dict[str, Unit] = {}
        self.timers: list[tuple[float, int, str, Any, int]] = []
        self.order = 0
        self.now = 0.0
        self.started_at = 0.0
        self.finished_at: float | None = None
        self.bytes = 0
        self.cancels = 0
        self.events = 0
        self.refused = 0
        self.tasks = 0
        self.reuse: dict[str, JSON] = {}

    def at(self, due: float, kind: str, target: Any, mark: int = 0) -> None:
        """Ask for a Tick at ``due``."""
        self.order += 1
        heappush(self.timers, (due, self.order, kind, target, mark))

    def dissolve(self) -> None:
        """Let go of everything: scopes, tasks and units refer to each other in circles, which would wait for the collector.

        For a run that is over and whose document has been made; the state tells nothing afterwards.
        """
        scopes = [self.root] if self.root else []
        for scope in scopes:
            for task in scope.tasks:
                scopes += [unit.child for unit in task.units if unit.child is not None]
                task.units.clear()
            scope.tasks.clear()
            scope.base.clear()
        self.root = None

    @property
    def phase(self) -> str:
        """The run's phase: Pending, Running, Succeeded, Failed or Cancelled."""
        if self.root is None:
            return PENDING
        return self.root.phase if self.finished_at is not None else RUNNING

    @property
    def next_due(self) -> float | None:
        """When the next Tick is wanted, in epoch seconds."""
        return self.timers[0][0] if self.timers else None
