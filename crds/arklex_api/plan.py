"""A TaskGraph compiled: names resolved to indices, references to edges, expressions to templates.

Pure. Lint, the picture and the engine all read the same Plan, so they cannot disagree about what depends on what
(the guide's DependencyResolver; semantics.md, "Expressions" and "When a task runs").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from arklex_api.base import JSON
from arklex_api.expressions import Reference, Template, TemplateError, compile_expression, compile_template
from arklex_api.problems import ManifestError, Problem
from arklex_api.suggest import Suggester
from arklex_api.task import Task
from arklex_api.taskgraph import TaskGraphSpec

Kind = Literal["worker", "tool", "graph", "approval", "value"]
ROOTS = ("input", "query", "context", "session", "tasks", "run")


@dataclass(frozen=True, slots=True)
class Edge:
    """What a task needs of one dependency: whether it reads its output, and whether it guards against there being none."""

    source: int
    reads: bool
    guarded: bool


@dataclass(slots=True)
class Node:
    """One task, compiled. ``deps`` and ``dependents`` hold indices into ``Plan.nodes``; ``level`` is the longest path to it."""

    index: int
    name: str
    path: str
    task: Task
    kind: Kind
    is_final: bool
    worker: str | None
    when: Template | None = None
    items: Template | None = None
    inputs: Template | None = None
    value: Template | None = None
    message: Template | None = None
    cache_key: Template | None = None
    fallback_value: Template | None = None
    fallback_inputs: Template | None = None
    fallback_task: int | None = None
    save_state: Template | None = None
    deps: tuple[Edge, ...] = ()
    dependents: list[int] = field(default_factory=list)
    fallback_for: list[int] = field(default_factory=list)
    level: int = 0

    def templates(self) -> Iterable[tuple[str, Template]]:
        """Every expression of the task, with its field's path."""
        found = (
            ("when", self.when),
            ("forEach.items", self.items),
            ("with", self.inputs),
            ("value", self.value),
            ("approval.message", self.message),
            ("cache.key", self.cache_key),
            ("fallback.value", self.fallback_value),
            ("fallback.with", self.fallback_inputs),
            ("saveState", self.save_state),
        )
        return ((f"{self.path}.{field}", template) for field, template in found if template is not None)


@dataclass(slots=True)
class Plan:
    """A compiled graph: main tasks first, in the manifest's order, then the ``finally`` tasks from index ``finals`` on."""

    spec: TaskGraphSpec
    nodes: list[Node]
    finals: int
    by_name: dict[str, int]
    output: Template | None

    def layers(self) -> list[list[Node]]:
        """The main tasks by level: every task comes after all that it depends on."""
        found: list[list[Node]] = [[] for _ in range(1 + max((n.level for n in self.nodes[: self.finals]), default=-1))]
        for node in self.nodes[: self.finals]:
            found[node.level].append(node)
        return found

    def order(self) -> list[str]:
        """Names of the main tasks in dependency order."""
        return [node.name for layer in self.layers() for node in layer]


def compile_graph(spec: TaskGraphSpec) -> Plan:
    """Compile ``spec``. Raises ManifestError with every problem found: names, references, expressions, cycles."""
    compiler = _Compiler(spec)
    plan = compiler.compile()
    if compiler.problems:
        raise ManifestError(compiler.problems)
    return plan


def kind_of(task: Task) -> Kind:
    """Which of the five kinds ``task`` is; presence decides, so ``value: null`` is a value."""
    if task.given("value"):
        return "value"
    if task.tool is not None:
        return "tool"
    if task.graph is not None:
        return "graph"
    return "approval" if task.approval is not None else "worker"


class _Compiler:
    def __init__(self, spec: TaskGraphSpec) -> None:
        self.spec = spec
        self.problems: list[Problem] = []
        self.by_name: dict[str, int] = {}
        self.finals = len(spec.tasks)
        self.suggest = Suggester()

    def compile(self) -> Plan:
        nodes = [self._node(i, t, f"spec.tasks[{i}]", False) for i, t in enumerate(self.spec.tasks)]
        nodes += [self._node(self.finals + i, t, f"spec.finally[{i}]", True) for i, t in enumerate(self.spec.finally_)]
        for node in nodes:
            self._name(node)
        for node in nodes:
            self._link(node, nodes)
        output = self._template(self.spec.output, "spec.output", ROOTS) if self.spec.given("output") else None
        for reference in output.references if output else ():
            self._target(reference, "spec.output", nodes, whole=True)
        if not self.problems:
            self._levels(nodes)
        return Plan(self.spec, nodes, self.finals, self.by_name, output)

    def _problem(self, path: str, reason: str, message: str) -> None:
        self.problems.append(Problem(path, reason, message))

    def _name(self, node: Node) -> None:
        first = self.by_name.setdefault(node.name, node.index)
        if first != node.index:
            self._problem(
                f"{node.path}.name",
                "DuplicateTask",
                f"another task is called '{node.name}' already: names are unique over tasks and finally",
            )

    def _node(self, index: int, task: Task, path: str, final: bool) -> Node:
        kind = kind_of(task)
        node = Node(index, task.name, path, task, kind, final, task.worker or (self.spec.llm if kind == "worker" else None))
        inner = (*ROOTS, task.for_each.as_, "index") if task.for_each else ROOTS
        if kind == "worker" and node.worker is None:
            self._problem(path, "NoWorker", "an action without a worker needs spec.llm, the Worker that such tasks use")
        if task.when is not None:
            node.when = self._expression(task.when, f"{path}.when", ROOTS)
        if task.for_each:
            node.items = self._items(task.for_each.items, f"{path}.forEach.items")
        if task.given("with_"):
            node.inputs = self._template(task.with_, f"{path}.with", inner)
        if kind == "value":
            node.value = self._template(task.value, f"{path}.value", inner)
        if task.approval:
            node.message = self._template(task.approval.message, f"{path}.approval.message", inner)
        if task.cache and task.cache.given("key"):
            node.cache_key = self._template(task.cache.key, f"{path}.cache.key", inner)
        if task.fallback and task.fallback.given("value"):
            node.fallback_value = self._template(task.fallback.value, f"{path}.fallback.value", inner)
        if task.fallback and task.fallback.given("with_"):
            node.fallback_inputs = self._template(task.fallback.with_, f"{path}.fallback.with", inner)
        if task.save_state is not None:
            node.save_state = self._template(task.save_state, f"{path}.saveState", ROOTS)
        return node

    def _template(self, value: JSON, path: str, roots: Sequence[str]) -> Template | None:
        try:
            return compile_template(value, path=path, roots=roots)
        except TemplateError as error:
            self.problems += error.problems
            return None

    def _expression(self, text: str, path: str, roots: Sequence[str]) -> Template | None:
        try:
            return compile_expression(text, path=path, roots=roots)
        except TemplateError as error:
            self.problems += error.problems
            return None

    def _items(self, items: JSON, path: str) -> Template | None:
        if isinstance(items, str):
            return self._expression(items, path, ROOTS)
        if not isinstance(items, list):
            self._problem(path, "BadItems", "must be one ${…} that gives a list, or a list")
            return None
        return self._template(items, path, ROOTS)

    def _link(self, node: Node, nodes: list[Node]) -> None:
        reads: dict[int, bool] = {}
        guarded: set[int] = set()
        for position, name in enumerate(node.task.depends_on):
            source = self._lookup(name, f"{node.path}.dependsOn[{position}]", node)
            if source is not None:
                reads.setdefault(source, False)
        for path, template in node.templates():
            for reference in template.references:
                source = self._target(reference, path, nodes, whole=node.is_final, node=node, own=template is node.save_state)
                if source is None:
                    continue
                reads[source] = reads.get(source, False) or _reads(reference)
                if _guards(reference):
                    guarded.add(source)
        self._fallback(node, nodes)
        node.deps = tuple(Edge(source, read, source in guarded) for source, read in sorted(reads.items()))
        for source in reads:
            nodes[source].dependents.append(node.index)

    def _fallback(self, node: Node, nodes: list[Node]) -> None:
        fallback = node.task.fallback
        if fallback is None or fallback.task is None:
            return
        target = self._lookup(fallback.task, f"{node.path}.fallback.task", node)
        if target is not None:
            node.fallback_task = target
            nodes[target].fallback_for.append(node.index)

    def _target(
        self, reference: Reference, path: str, nodes: list[Node], *, whole: bool, node: Node | None = None, own: bool = False
    ) -> int | None:
        if reference.root != "tasks":
            return None
        if not reference.path:
            if not whole:
                self._problem(path, "WholeTasks", "'tasks' as a whole can be read in output and finally only: name the task")
            return None
        name = str(reference.path[0])
        if own and node is not None and name == node.name:
            return None
        return self._lookup(name, path, node)

    def _lookup(self, name: str, path: str, node: Node | None) -> int | None:
        index = self.by_name.get(name)
        if index is None:
            hint = self.suggest.hint(name, self.by_name)
            self._problem(path, "UnknownTask", f"there is no task '{name}'{hint}")
        elif index >= self.finals and (node is None or not node.is_final):
            self._problem(path, "DependsOnFinally", f"'{name}' is a finally task: nothing outside finally may depend on it")
            return None
        elif node is not None and index == node.index:
            self._problem(path, "SelfReference", f"task '{name}' refers to itself: only its saveState may read its output")
            return None
        return index

    def _levels(self, nodes: list[Node]) -> None:
        """By dependencies and fallback tasks; what cannot be ordered holds a cycle, which is named."""
        before: list[set[int]] = [{edge.source for edge in node.deps} for node in nodes]
        for node in nodes:
            if node.fallback_task is not None:
                before[node.index].add(node.fallback_task)
        order = _order(before)
        for index in order:
            nodes[index].level = max((nodes[source].level + 1 for source in before[index]), default=0)
        if len(order) == len(nodes) and any(node.fallback_for for node in nodes):
            before = _waits(nodes)
            order = _order(before)
        if len(order) < len(before):
            stages = len(before) // len(nodes)
            names = [nodes[at // stages].name for at in reversed(_cycle(before, order))]
            shown = [name for at, name in enumerate(names) if not at or names[at - 1] != name]
            first = nodes[min(self.by_name[name] for name in shown)]
            self._problem(first.path, "Cycle", f"the tasks depend on each other in a circle: {' → '.join(shown)}")


def _order(before: Sequence[set[int]]) -> list[int]:
    """Kahn's algorithm: what comes first, first; what is on a cycle, or after one, is left out."""
    after: list[list[int]] = [[] for _ in before]
    for index, sources in enumerate(before):
        for source in sources:
            after[source].append(index)
    waiting = [len(sources) for sources in before]
    ready = [index for index, count in enumerate(waiting) if not count]
    for index in ready:
        for target in after[index]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return ready


def _cycle(before: Sequence[set[int]], order: list[int]) -> list[int]:
    """One cycle among what ``order`` leaves out, its first index at both ends."""
    stuck = set(range(len(before))) - set(order)
    trail: dict[int, None] = {}
    at = min(stuck)
    while at not in trail:
        trail[at] = None
        at = min(source for source in before[at] if source in stuck)
    steps = list(trail)
    return [*steps[steps.index(at) :], at]


def _waits(nodes: list[Node]) -> list[set[int]]:
    """What waits for what, in three stages of each task: it begins (3i), has its result (3i+1), is over (3i+2).

    A task's result waits for that of its fallback task; a fallback task is over only when nobody can want it any more.
    """
    before: list[set[int]] = []
    for node in nodes:
        start = {3 * edge.source + 2 for edge in node.deps}
        result = {3 * node.index} if node.fallback_task is None else {3 * node.index, 3 * node.fallback_task + 1}
        before += [start, result, {3 * node.index + 1, *(3 * user + 2 for user in node.fallback_for)}]
    return before


def _reads(reference: Reference) -> bool:
    return len(reference.path) > 1 and reference.path[1] == "output" and not reference.has


def _guards(reference: Reference) -> bool:
    if len(reference.path) == 1:
        return True
    return reference.path[1] in ("phase", "error") or (reference.path[1] == "output" and reference.has)
