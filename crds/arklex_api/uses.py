"""What a graph uses outside itself, Workers and other graphs, and what is wrong with that.

Apart from the rest of lint, because it changes when other objects do: the operator judges a graph's own text once, and this
whenever a Worker or a TaskGraph of its namespace comes, changes or goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from arklex_api.messages import excerpt
from arklex_api.paths import Steps
from arklex_api.suggest import Suggester
from arklex_api.task import Task
from arklex_api.taskgraph import TaskGraphSpec


class Found(NamedTuple):
    """One thing wrong below an object."""

    steps: Steps
    reason: str
    message: str


class WorkerUse(NamedTuple):
    """A field that names a Worker. ``bare`` is the field of the action that is not given, which only a custom Worker takes."""

    steps: Steps
    name: str
    bare: Steps | None = None
    for_tool: bool = False


@dataclass(frozen=True, slots=True)
class Uses:
    """All that a graph refers to: Workers, tools that name no Worker although a task calls them, sub-graphs."""

    workers: tuple[WorkerUse, ...] = ()
    tools: tuple[tuple[Steps, str], ...] = ()
    graphs: tuple[tuple[Steps, str], ...] = ()


@dataclass(slots=True)
class Known:
    """What may be referred to: Workers with their types (None where it cannot be read), and graphs.

    Names of objects that failed to load count too: their own problems say enough. ``on_cluster``: these are all Workers there
    are, and a tool is called by one of type tool; embedded, the process itself calls it.
    """

    workers: Mapping[str, str | None]
    graphs: Collection[str]
    on_cluster: bool = False
    suggest: Suggester = field(default_factory=Suggester)

    def tool_workers(self) -> list[str]:
        """The Workers of type tool, by name."""
        return sorted(name for name, kind in self.workers.items() if kind == "tool")


def tasks_of(spec: TaskGraphSpec) -> Iterator[tuple[Steps, Task]]:
    """Every task with its place."""
    for part, tasks in (("tasks", spec.tasks), ("finally", spec.finally_)):
        for index, task in enumerate(tasks):
            yield ("spec", part, index), task


def uses_of(spec: TaskGraphSpec) -> Uses:
    """What ``spec`` uses outside itself."""
    tasks = list(tasks_of(spec))
    workers = [use for steps, task in tasks for use in _workers(steps, task)]
    if spec.llm is not None:
        workers.append(WorkerUse(("spec", "llm"), spec.llm))
    called = {task.tool for _, task in tasks}
    homeless = []
    for index, tool in enumerate(spec.tools):
        steps: Steps = ("spec", "tools", index, "worker")
        if tool.worker is not None:
            workers.append(WorkerUse(steps, tool.worker, for_tool=True))
        elif tool.name in called:
            homeless.append((steps, tool.name))
    graphs = tuple((steps, task.graph) for steps, task in tasks if task.graph is not None)
    return Uses(tuple(workers), tuple(homeless), graphs)


def _workers(steps: Steps, task: Task) -> Iterator[WorkerUse]:
    if task.worker is not None:
        yield WorkerUse((*steps, "worker"), task.worker, None if task.action else (*steps, "action"))
    if task.fallback is not None and task.fallback.worker is not None:
        action = task.fallback.action or task.action
        bare = None if action else (*steps, "fallback", "action")
        yield WorkerUse((*steps, "fallback", "worker"), task.fallback.worker, bare)


def use_problems(uses: Uses, known: Known) -> Iterator[Found]:
    """What is wrong with ``uses`` where this is ``known``; sub-graphs that call each other are judged elsewhere."""
    for use in uses.workers:
        yield from _worker_problems(use, known)
    for steps, name in uses.graphs:
        yield from no_graph(name, known, (*steps, "graph"))
    if known.on_cluster and uses.tools:
        yield from _homeless(uses, known)


def _worker_problems(use: WorkerUse, known: Known) -> Iterator[Found]:
    if use.name not in known.workers:
        hint = known.suggest.hint(use.name, known.workers)
        yield Found(use.steps, "UnknownWorker", f"there is no Worker {excerpt(use.name)}{hint}")
        return
    kind = known.workers[use.name]
    if use.for_tool and kind not in ("tool", None):
        message = f"'{use.name}' is of type {kind}: tools run on a Worker of type tool"
        yield Found(use.steps, "WrongType", message)
    if use.bare is not None and kind not in ("custom", None):
        message = f"is required: only custom Workers do without, and '{use.name}' is of type {kind}"
        yield Found(use.bare, "Required", message)


def no_graph(name: str, known: Known, steps: Steps) -> Iterator[Found]:
    """That there is no graph of this name, if so."""
    if name not in known.graphs:
        yield Found(steps, "UnknownGraph", f"there is no TaskGraph {excerpt(name)}{known.suggest.hint(name, known.graphs)}")


def _homeless(uses: Uses, known: Known) -> Iterator[Found]:
    """A tool without a Worker of its own is called by the only one of type tool."""
    candidates = known.tool_workers()
    for steps, name in uses.tools:
        if not candidates:
            yield Found(steps, "NoToolWorker", f"nothing here calls the tool '{name}': create a Worker of type tool")
        elif len(candidates) > 1:
            names = ", ".join(candidates[:5]) + (", …" if len(candidates) > 5 else "")
            yield Found(steps, "AmbiguousWorker", f"there are {len(candidates)} Workers of type tool ({names}): name one")
