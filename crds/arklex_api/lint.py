"""Everything wrong with a set of manifests before anything runs: what ``arklex lint`` prints and the operator refuses.

Within one graph the plan judges (names, references, cycles, expressions); here are the checks that look across objects, and
those of JSON Schemas, schedules and inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from arklex_api.base import JSON
from arklex_api.graphs import Calls, sub_graph_problems
from arklex_api.loader import Document, Manifests, sort_problems
from arklex_api.paths import Steps
from arklex_api.problems import ManifestError, Problem
from arklex_api.schedules import schedule_problem
from arklex_api.schema import JsonSchema, SchemaError
from arklex_api.suggest import Suggester
from arklex_api.taskgraph import RunInputs, TaskGraphSpec
from arklex_api.uses import Found, Known, no_graph, tasks_of, use_problems, uses_of


def lint(manifests: Manifests, *, known_workers: Iterable[str] = (), known_graphs: Iterable[str] = ()) -> list[Problem]:
    """All problems of ``manifests``, those of loading included, by file and line.

    ``known_workers`` and ``known_graphs`` are names that exist elsewhere, as on a cluster; without them everything must be in
    the files.
    """
    workers: dict[str, str | None] = dict.fromkeys((*known_workers, *_names(manifests, "Worker")))
    workers.update((name, worker.spec.type) for name, worker in manifests.workers.items())
    known = Known(workers=workers, graphs={*known_graphs, *_names(manifests, "TaskGraph")})
    problems = list(manifests.problems)
    for name, graph in manifests.graphs.items():
        document = manifests.document("TaskGraph", name)
        problems += _plan_problems(graph.spec, document)
        problems += [document.problem(*found) for found in graph_problems(graph.spec, known)]
    for name, run in manifests.runs.items():
        document = manifests.document("TaskGraphRun", name)
        problems += [document.problem(*found) for found in _run_problems(run.spec.graph, run.spec, manifests, known)]
    problems += [
        manifests.document("TaskGraph", call.graph).problem(call.steps, reason, message)
        for call, reason, message in sub_graph_problems(_calls(manifests))
    ]
    return sort_problems(problems)


def _names(manifests: Manifests, kind: str) -> Iterator[str]:
    return (document.name for document in manifests.documents if document.kind == kind)


def _plan_problems(spec: TaskGraphSpec, document: Document) -> list[Problem]:
    from arklex_api.plan import compile_graph

    try:
        compile_graph(spec)
    except ManifestError as error:
        return [document.placed(problem) for problem in error.problems]
    return []


def graph_problems(spec: TaskGraphSpec, known: Known) -> Iterator[Found]:
    """What is wrong with one graph, but for its plan, among the objects that are ``known``."""
    yield from use_problems(uses_of(spec), known)
    yield from own_problems(spec, known.suggest)


def own_problems(spec: TaskGraphSpec, suggest: Suggester) -> Iterator[Found]:
    """What is wrong with one graph's own text, whatever else there is; the plan judges its tasks' names and expressions."""
    tools = {tool.name for tool in spec.tools}
    for steps, task in tasks_of(spec):
        if task.tool is not None and task.tool not in tools:
            hint = suggest.hint(task.tool, tools) or ": define it in spec.tools"
            yield Found((*steps, "tool"), "UnknownTool", f"there is no tool '{task.tool}'{hint}")
        if task.approval is not None and task.approval.schema_ is not None:
            yield from _schema_problem(task.approval.schema_, (*steps, "approval", "schema"))
    yield from _tool_problems(spec)
    yield from _schema_problem(spec.input.schema_, ("spec", "input", "schema"))
    yield from _schedule_problems(spec)
    yield from _input_problem(spec.run, spec, ("spec", "run"))


def _tool_problems(spec: TaskGraphSpec) -> Iterator[Found]:
    for index, tool in enumerate(spec.tools):
        steps: Steps = ("spec", "tools", index)
        if tool.input_schema is not None:
            yield from _schema_problem(tool.input_schema, (*steps, "inputSchema"))
        yield from _template_problems(tool.http.url, (*steps, "http", "url"))
        yield from _template_problems(tool.http.headers, (*steps, "http", "headers"))
        yield from _template_problems(tool.http.body, (*steps, "http", "body"))


def _template_problems(value: JSON, steps: Steps) -> Iterator[Found]:
    """Expressions of a tool see its input only."""
    from arklex_api.expressions import TemplateError, compile_template
    from arklex_api.paths import parse, render

    try:
        compile_template(value, path=render(steps), roots=("input",))
    except TemplateError as error:
        yield from (Found(parse(problem.path), problem.reason, problem.message) for problem in error.problems)


def _schema_problem(schema: dict[str, JSON], steps: Steps) -> Iterator[Found]:
    try:
        JsonSchema(schema).check()
    except SchemaError as error:
        yield Found((*steps, *error.steps), "InvalidSchema", str(error))


def _schedule_problems(spec: TaskGraphSpec) -> Iterator[Found]:
    if spec.schedule is None:
        return
    problem = schedule_problem(spec.schedule.cron, spec.schedule.time_zone)
    if problem is not None:
        yield Found(("spec", "schedule", problem.field), problem.reason, problem.message)
    yield from _input_problem(spec.schedule.run, spec, ("spec", "schedule", "run"))


def _input_problem(run: RunInputs | None, spec: TaskGraphSpec, steps: Steps) -> Iterator[Found]:
    """Whether the input written into a manifest is what the graph's schema asks for; absent input is an empty map."""
    if run is None:
        return
    schema = JsonSchema(spec.input.schema_)
    try:
        schema.check()
    except SchemaError:
        return
    try:
        schema.accept({} if run.input is None else run.input, "input")
    except SchemaError as error:
        yield Found((*steps, "input"), "InvalidInput", f"does not match spec.input.schema: {error}")


def _run_problems(graph: str, run: RunInputs, manifests: Manifests, known: Known) -> Iterator[Found]:
    yield from no_graph(graph, known, ("spec", "graph"))
    if graph in manifests.graphs:
        yield from _input_problem(run, manifests.graphs[graph].spec, ("spec",))


def _calls(manifests: Manifests) -> Calls:
    return {name: uses_of(graph.spec).graphs for name, graph in manifests.graphs.items()}
