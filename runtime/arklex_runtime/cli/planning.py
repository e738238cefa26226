"""``arklex plan``: the levels of a graph and, given an input, what each task would be called with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from arklex_api.base import JSON
from arklex_api.expressions import ExpressionError, Template
from arklex_api.plan import Node, Plan, compile_graph
from arklex_api.schema import JsonSchema, SchemaError
from arklex_api.taskgraph import RunInputs, TaskGraph
from arklex_runtime.cli.failures import Refused
from arklex_runtime.cli.inputs import accepted_manifests, choose_graph, read_json, read_map
from arklex_runtime.cli.terminal import Terminal

_KNOWN = (("id",), ("graph",), ("startedAt",))
"""What ``run`` holds before its end."""


def plan_files(
    terminal: Terminal, files: Sequence[str], graph: str | None, query: str | None, input: str | None, context: str | None
) -> int:
    """Print the plan; nothing runs."""
    manifests = accepted_manifests(files)
    name = choose_graph(manifests, graph)
    found = manifests.graphs[name]
    plan = compile_graph(found.spec)
    given = (query, input, context) != (None, None, None)
    scope = _scope(found, query, read_json(input, "--input"), read_map(context, "--context")) if given else None
    document = {
        "graph": name,
        "levels": [[_task(plan, node, scope) for node in layer] for layer in plan.layers()],
        "finally": [_task(plan, node, scope) for node in plan.nodes[plan.finals :]],
    }
    if terminal.json:
        terminal.document(document)
    else:
        for line in _lines(document):
            terminal.print(line)
    return 0


def _scope(graph: TaskGraph, query: str | None, input: JSON, context: dict[str, JSON] | None) -> dict[str, JSON]:
    run = graph.spec.run or RunInputs()
    given = input if input is not None else run.input if run.input is not None else {}
    try:
        given = JsonSchema(graph.spec.input.schema_).accept(given, "input")
    except SchemaError as error:
        raise Refused.of("--input", "Invalid", str(error)) from None
    name = graph.metadata.name
    facts: JSON = {"id": f"{name}-plan", "graph": name, "startedAt": "1970-01-01T00:00:00.000Z"}
    asked = query if query is not None else run.query or ""
    return {"input": given, "query": asked, "context": context or run.context or {}, "session": {}, "run": facts}


def _task(plan: Plan, node: Node, scope: Mapping[str, JSON] | None) -> dict[str, Any]:
    task = node.task
    document: dict[str, Any] = {"name": node.name, "kind": node.kind}
    for key, value in (("worker", node.worker), ("action", task.action), ("tool", task.tool), ("graph", task.graph)):
        if value is not None:
            document[key] = value
    document["dependsOn"] = [plan.nodes[need.source].name for need in node.deps]
    if scope is not None:
        document |= dict(_rendered(node, scope))
    return document


def _rendered(node: Node, scope: Mapping[str, JSON]) -> Iterator[tuple[str, JSON]]:
    """What can be known before anything ran; the rest says which tasks it waits for."""
    task = node.task
    sources = (
        ("when", node.when, task.when),
        ("forEach", node.items, task.for_each.items if task.for_each else None),
        ("with", node.inputs, task.with_),
        ("value", node.value, task.value),
        ("message", node.message, task.approval.message if task.approval else None),
    )
    for key, template, source in sources:
        if template is not None:
            yield key, _value(template, source, scope, task.for_each.as_ if task.for_each else None)


def _value(template: Template, source: JSON, scope: Mapping[str, JSON], item: str | None) -> JSON:
    roots = {reference.root for reference in template.references}
    read = (reference for reference in template.references if reference.root == "tasks" and reference.path)
    needs = sorted({str(reference.path[0]) for reference in read})
    if any(reference.root == "run" and reference.path[:1] not in _KNOWN for reference in template.references):
        needs.append("the run")
    if needs:
        return {"waitsFor": needs, "template": source}
    if roots & {item, "index"} and not roots & {"item", "index", item} <= scope.keys():
        return {"forEachItem": True, "template": source}
    try:
        return {"value": template.evaluate(scope)}
    except ExpressionError as error:
        return {"error": str(error), "template": source}


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    for number, level in enumerate(document["levels"], 1):
        yield f"level {number}"
        for task in level:
            yield from _task_lines(task)
    if document["finally"]:
        yield "finally"
        for task in document["finally"]:
            yield from _task_lines(task)


def _task_lines(task: Mapping[str, Any]) -> Iterator[str]:
    import json

    who = " ".join(str(task[key]) for key in ("worker", "action", "tool", "graph") if key in task) or task["kind"]
    after = f"   after {', '.join(task['dependsOn'])}" if task["dependsOn"] else ""
    yield f"  {task['name']}   {who}{after}"
    for key in ("when", "forEach", "with", "value", "message"):
        if key in task:
            found = task[key]
            if "value" in found:
                yield f"      {key}: {json.dumps(found['value'], ensure_ascii=False)}"
            elif "error" in found:
                yield f"      {key}: error: {found['error']}"
            else:
                waits = f"   (known after {', '.join(found['waitsFor'])})" if "waitsFor" in found else "   (for each item)"
                yield f"      {key}: {json.dumps(found['template'], ensure_ascii=False)}{waits}"
