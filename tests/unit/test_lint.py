"""Lint over files: a table of bad manifests, each with reason, path and line; and what is right stays silent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from arklex_api.graphs import sub_graph_problems
from arklex_api.lint import lint
from arklex_api.loader import Manifests, load_text
from arklex_api.problems import Problem

BAD = sorted((Path(__file__).parent / "data/bad").glob("*.yaml"))
GRAPH = """
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: g}
spec:
  input: {schema: {type: object, required: [customer], properties: {customer: {type: string}}}}
  llm: assistant
  tools:
  - name: tickets
    http: {method: POST, url: "https://example.com/${input.customer}", body: {text: "${input.body}"}}
    inputSchema: {type: object}
    rateLimit: {requestsPerMinute: 60, burst: 2}
  schedule: {cron: "*/5 9-17 * * 1-5", timeZone: Europe/Vienna, run: {input: {customer: c}}}
  run: {query: why, input: {customer: c-17}}
  tasks:
  - {name: ask, action: generate, with: {prompt: "${query}"}}
  - {name: sub, graph: h, with: {x: "${tasks.ask.output}"}}
  - {name: ticket, tool: tickets, with: {body: "${tasks.sub.output}"}, saveState: {last: "${tasks.ticket.output}"}}
  - {name: spare, value: null}
  - {name: try, worker: assistant, action: x, fallback: {task: spare}}
  finally:
  - {name: audit, value: "${run.phase}"}
  output: ${tasks.ticket.output}
"""
OTHERS = """
---
apiVersion: arklex.ai/v1alpha1
kind: Worker
metadata: {name: assistant}
spec: {type: llm, llm: {model: m}}
---
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: h}
spec: {tasks: [{name: a, value: 1}]}
"""


def found(problems: list[Problem]) -> list[str]:
    return [f"{p.reason} {p.path or '-'} {p.line}" for p in problems]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_manifest_is_refused_where_it_is_wrong(path: Path) -> None:
    text = path.read_text()
    first, _, _ = text.partition("\n")
    problems = lint(load_text(text, str(path)), known_workers=["w"])
    assert "; ".join(found(problems)) == first.removeprefix("# ")
    assert {problem.file for problem in problems} == {str(path)}
    assert all(problem.message for problem in problems)


def test_the_table_covers_every_reason() -> None:
    reasons = {path.read_text().split(maxsplit=2)[1] for path in BAD}
    assert len(BAD) > 90
    assert reasons > {
        "Required",
        "UnknownField",
        "Invalid",
        "Cycle",
        "GraphCycle",
        "UnknownWorker",
        "InvalidKey",
        "InvalidSchema",
    }


def test_a_good_graph_has_no_problems() -> None:
    assert lint(load_text(GRAPH + OTHERS)) == []


def test_what_a_cluster_has_may_be_left_out() -> None:
    manifests = load_text(GRAPH)
    assert found(lint(manifests)) == [
        "UnknownWorker spec.llm 7",
        "UnknownGraph spec.tasks[1].graph 17",
        "UnknownWorker spec.tasks[4].worker 20",
    ]
    assert lint(manifests, known_workers=["assistant"], known_graphs=["h"]) == []


def test_a_worker_that_failed_to_load_is_not_unknown_as_well() -> None:
    broken = OTHERS.replace("type: llm", "type: lllm")
    assert found(lint(load_text(GRAPH + broken))) == ["Invalid spec.type 29"]


def test_problems_of_loading_come_along_in_order_of_lines() -> None:
    text = GRAPH.replace("action: generate", "action: 5") + OTHERS.replace("{model: m}", "{}")
    assert found(lint(load_text(text))) == ["Invalid spec.tasks[0].action 16", "Required spec.llm.model 29"]


def test_lint_changes_nothing() -> None:
    manifests = load_text(GRAPH)
    first = lint(manifests)
    assert manifests.problems == []
    assert lint(manifests) == first


def test_nothing_to_lint() -> None:
    assert lint(Manifests()) == []


def test_a_schema_reference_is_never_fetched(tmp_path: Path) -> None:
    schema = tmp_path / "secret.json"
    schema.write_text('{"type": "object"}')
    text = GRAPH.replace("inputSchema: {type: object}", f"inputSchema: {{$ref: 'file://{schema}'}}") + OTHERS
    problems = lint(load_text(text))
    assert found(problems) == ["InvalidSchema spec.tools[0].inputSchema 11"]
    assert "put it into $defs" in problems[0].message


def calls(edges: Mapping[str, str]) -> list[str]:
    below = {
        name: [(("spec", "tasks", index), child) for index, child in enumerate(children)] for name, children in edges.items()
    }
    return [f"{reason}: {message.split(': ')[1]}" for _, reason, message in sub_graph_problems(below)]


def test_each_cycle_of_graphs_is_named_once() -> None:
    assert calls({"a": "b", "b": "c", "c": "b", "d": "e", "e": "d", "x": "adyy", "y": ""}) == [
        "GraphCycle: b → c → b",
        "GraphCycle: d → e → d",
    ]


def test_a_diamond_of_graphs_is_no_cycle() -> None:
    assert calls({"a": "bc", "b": "d", "c": "d", "d": ""}) == []


def test_eight_levels_are_allowed_and_nine_are_named() -> None:
    names = "abcdefghijk"
    chain = dict(zip(names, [*names[1:], ""], strict=True))
    assert calls({name: child for name, child in chain.items() if name > "c"} | {"k": ""}) == []
    assert calls(chain) == ["TooDeep: c → d → e → f → g → h → i → j → k"]


def test_thousands_of_graphs_in_a_ring_or_a_chain_take_no_time() -> None:
    ring = {f"g{i}": [(("spec", "tasks", 0), f"g{(i + 1) % 3_000}")] for i in range(3_000)}
    (problem,) = sub_graph_problems(ring)
    assert len(problem[2]) < 200
    pairs = {f"g{i}": [(("spec", "tasks", 0), f"g{i ^ 1}")] for i in range(3_000)}
    assert len(list(sub_graph_problems(pairs))) == 20
    chain = {f"g{i}": [(("spec", "tasks", 0), f"g{i + 1}")] for i in range(3_000)}
    assert len(list(sub_graph_problems(chain))) == 1


def test_thousands_of_typos_are_told_in_bounded_time_and_number() -> None:
    head = "apiVersion: arklex.ai/v1alpha1\nkind: TaskGraph\nmetadata: {name: g}\nspec:\n  tasks:\n"
    fields = lint(load_text(head + "".join(f"  - {{name: t{i}, value: 1, valeu: 1}}\n" for i in range(5_000))))
    assert len(fields) == 201
    assert fields[0].message == "4800 more problems in this object"
    assert fields[-1].message == "unknown field 'valeu', did you mean 'value'?"
    names = lint(load_text(head + "".join(f"  - {{name: t{i}, value: 1, dependsOn: [tt{i}]}}\n" for i in range(5_000))))
    assert len(names) == 5_000
    assert names[0].message == "there is no task 'tt0': did you mean 't0'?"
    assert names[-1].message == "there is no task 'tt4999'"
