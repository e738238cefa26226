"""Bad input, end to end through the command line: a clear error and exit code, nothing hangs, the database stays usable."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arklex_runtime import Orchestrator
from arklex_runtime.errors import ValidationError
from tests.folders import Answer, Folder

HANDLERS = """
import asyncio, datetime, sys, threading, time
from arklex_runtime.errors import TaskError

class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no words")

class Base(BaseException):
    pass

def cyclic():
    found = []
    found.append(found)
    return found

def deep(levels):
    found = 1
    for _ in range(levels):
        found = [found]
    return found

RAISED = {
    "plain": lambda: ValueError("the order has no lines"),
    "long": lambda: ValueError("x" * 100_000),
    "surrogate": lambda: ValueError("half \\ud800"),
    "silent": Silent,
    "base": lambda: Base("not an Exception"),
    "exit": lambda: SystemExit(7),
    "interrupt": lambda: KeyboardInterrupt(),
    "cancelled": lambda: asyncio.CancelledError(),
    "recursion": lambda: RecursionError("too deep"),
    "memory": lambda: MemoryError(),
    "stop": lambda: StopIteration(3),
    "typed": lambda: TaskError("NoStock", "sold out"),
    "details": lambda: TaskError("NoStock", "sold out", details={"when": datetime.date(2026, 1, 1), 3: {4}, "n": float("nan")}),
    "words": lambda: TaskError("Half \\ud800 type", 17, details="no map"),
    "circular": lambda: TaskError("NoStock", "sold out", details={"a": cyclic()}),
}
RETURNED = {
    "nan": lambda: {"a": [1.0, float("nan")]},
    "infinity": lambda: float("inf"),
    "set": lambda: {"a": {1, 2}},
    "bytes": lambda: b"x",
    "date": lambda: datetime.datetime(2026, 1, 1),
    "object": lambda: object(),
    "generator": lambda: (x for x in "ab"),
    "huge": lambda: 2**63,
    "cyclic": cyclic,
    "deep": lambda: deep(65),
    "abyss": lambda: deep(100_000),
    "surrogate": lambda: {"a": "half \\ud800"},
    "surrogatekey": lambda: {"half \\ud800": 1},
    "keys": lambda: {1: 2},
    "nonekey": lambda: {None: 2},
    "large": lambda: "x" * (1 << 20),
    "coroutine": lambda: asyncio.sleep(0),
}

def raises(inputs):
    raise RAISED[inputs["what"]]()

async def raises_later(inputs):
    await asyncio.sleep(0)
    raise RAISED[inputs["what"]]()

def returns(inputs):
    return RETURNED[inputs["what"]]()

async def returns_later(inputs):
    return RETURNED[inputs["what"]]()

def echo(inputs):
    return inputs

def hangs(inputs):
    time.sleep(3600)

async def hangs_later(inputs):
    try:
        await asyncio.sleep(3600)
    finally:
        if inputs.get("stubborn"):
            await asyncio.sleep(0.2)

def makes(inputs):
    return "x" * inputs["size"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """A folder whose database must be usable at the end, whatever was done to it."""
    made = Folder(tmp_path, HANDLERS)
    yield made
    made.graph([{"name": "fine", "worker": "echo", "with": {"x": "${input.x}"}}], output="${tasks.fine.output.x}")
    answer = made.run("run", "graph.yaml", "--input", '{"x": "ünï"}')
    assert (answer.code, answer.json["output"]) == (0, "ünï"), answer


def every(folder: Folder, handlers: list[str], names: list[str]) -> dict[str, dict[str, Any]]:
    """The errors of tasks that run each handler with each name, all in one run."""
    tasks = [
        {"name": f"{name}-{i}", "worker": handler, "with": {"what": name}, "onError": "continue"}
        for i, handler in enumerate(handlers)
        for name in names
    ]
    folder.graph(tasks)
    answer = folder.run("run", "graph.yaml")
    assert answer.code == 0, answer
    assert "Traceback" not in answer.err
    assert {task["phase"] for task in answer.json["tasks"].values()} == {"Failed"}
    return {name: task["error"] for name, task in answer.json["tasks"].items()}


def test_whatever_a_handler_raises_is_the_tasks_error(folder: Folder) -> None:
    names = ["plain", "long", "surrogate", "silent", "base", "exit", "interrupt", "cancelled", "recursion", "memory", "stop"]
    names += ["typed", "details", "words", "circular"]
    errors = every(folder, ["raises", "raises-later"], names)
    for name, error in errors.items():
        assert set(error) == {"type", "message", "retryable", "details"}, name
        assert len(error["message"].encode()) <= 4096 and error["message"], name
    for i in (0, 1):
        assert errors[f"plain-{i}"]["message"] == "the order has no lines"
        assert (errors[f"plain-{i}"]["type"], errors[f"plain-{i}"]["details"]) == ("Failed", {"class": "ValueError"})
        assert errors[f"cancelled-{i}"]["type"] == "Cancelled"
        assert {errors[f"{name}-{i}"]["type"] for name in ("typed", "details", "circular")} == {"NoStock"}
        assert errors[f"exit-{i}"]["type"] == "Failed" and "SystemExit" in json.dumps(errors[f"exit-{i}"])


def test_whatever_is_not_json_is_no_output(folder: Folder) -> None:
    names = ["nan", "infinity", "set", "bytes", "date", "object", "generator", "huge", "cyclic", "deep", "abyss"]
    names += ["surrogate", "surrogatekey", "keys", "nonekey", "large", "coroutine"]
    errors = every(folder, ["returns", "returns-later"], names)
    assert {error["type"] for error in errors.values()} == {"InvalidOutput"}
    assert "output.a[1] is nan" in errors["nan-0"]["message"]
    assert "more than 1 MiB" in errors["large-0"]["message"]
    assert "64 deep" in errors["cyclic-0"]["message"]


def test_handlers_that_hang_hold_threads_and_then_are_unavailable(folder: Folder) -> None:
    """One thread and its replacement; the process ends although both are held for an hour."""
    hang = {"worker": "hangs", "timeout": "100ms", "onError": "continue"}
    tasks: list[dict[str, Any]] = [{"name": f"hang{i}", **hang} for i in range(4)]
    tasks += [{"name": "sync", "worker": "echo", "dependsOn": [f"hang{i}" for i in range(4)], "onError": "continue"}]
    tasks += [{"name": "async", "worker": "hangs-later", "with": {"stubborn": True}, "timeout": "100ms", "onError": "continue"}]
    folder.graph([*tasks, {"name": "value", "value": 1}], output="${tasks.value.output}")
    answer = folder.run("run", "graph.yaml", "--max-workers", "1")
    assert (answer.code, answer.json["output"]) == (0, 1), answer
    found = {name: task["error"]["type"] for name, task in answer.json["tasks"].items() if task["error"]}
    kinds = [found[f"hang{i}"] for i in range(4)]
    assert sorted(kinds) == ["Timeout", "Timeout", "Unavailable", "Unavailable"]
    assert (found["sync"], found["async"]) == ("Unavailable", "Timeout")


def test_a_hanging_run_ends_by_its_timeout(folder: Folder) -> None:
    folder.graph([{"name": "hang", "worker": "hangs"}], timeout="300ms")
    answer = folder.run("run", "graph.yaml")
    assert (answer.code, answer.json["error"]["type"]) == (1, "Timeout")
    assert answer.json["tasks"]["hang"]["phase"] == "Cancelled"


def test_costly_expressions_fail_their_task_at_once(folder: Folder) -> None:
    items = list(range(400))
    nested = "${tasks.items.output.map(a, tasks.items.output.map(b, a * b)).size()}"
    doubled = "${" + " + ".join(["input.x"] * 100) + "}"
    folder.graph(
        [
            {"name": "items", "value": items},
            {"name": "nested", "value": nested, "onError": "continue"},
            {"name": "doubled", "value": doubled, "onError": "continue"},
        ]
    )
    answer = folder.run("run", "graph.yaml", "--input", json.dumps({"x": "y" * 20_000}))
    assert answer.code == 0, answer
    errors = {name: task["error"] for name, task in answer.json["tasks"].items() if task["error"]}
    assert "expression too costly" in errors["nested"]["message"] and errors["nested"]["type"] == "InvalidInput"
    assert errors["doubled"]["type"] in ("InvalidInput", "InvalidOutput")


def refused(answer: Answer, *words: str) -> None:
    """Exit 2, nothing ran, and the words are among what is said."""
    assert answer.code == 2, answer
    assert "Traceback" not in answer.err
    said = json.dumps(answer.json["errors"], ensure_ascii=False)
    assert [word for word in words if word not in said] == [], said[:2000]


def test_manifests_that_are_refused(folder: Folder) -> None:
    def graph(*tasks: dict[str, Any], **spec: Any) -> Answer:
        folder.graph(list(tasks), **spec)
        return folder.run("run", "graph.yaml")

    echo = {"name": "a", "worker": "echo"}
    refused(graph(), "spec.tasks")
    refused(graph(*({"name": f"t{i}", "value": i} for i in range(10_001))), "spec.tasks", "10000")
    refused(graph({**echo, "with": {"x": "${" + "1 + " * 2000 + "1}"}}), "spec.tasks[0].with.x")
    refused(graph({**echo, "with": {"x": "${[1].map(a, [1].map(b, [1].map(c, c)))}"}}), "nest")
    refused(graph({**echo, "with": {"x": "${tasks.b.output}"}}, {**echo, "name": "b", "with": "${tasks.a.output}"}), "a", "b")
    refused(graph({**echo, "worker": "echo", "retry": {"limit": -1}}), "spec.tasks[0].retry.limit")
    refused(graph(echo, echo), "spec.tasks[1].name")


@pytest.mark.parametrize(
    "handler", ["handlers:missing", "nowhere:echo", "handlers", "broken:echo", "leaves:echo", "handlers:RAISED"]
)
def test_handlers_that_cannot_be_loaded(folder: Folder, handler: str) -> None:
    (folder.path / "broken.py").write_text("def echo(:\n")
    (folder.path / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    folder.graph([{"name": "a", "worker": "echo"}])
    text = (folder.path / "graph.yaml").read_text().replace("handlers:echo", handler)
    (folder.path / "graph.yaml").write_text(text)
    refused(folder.run("run", "graph.yaml"), handler.split(":")[0])


def test_requests_that_are_refused(folder: Folder) -> None:
    schema = {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer", "maximum": 5}}}
    folder.graph([{"name": "a", "worker": "echo"}], input={"schema": schema})
    run = ("run", "graph.yaml", "--input")
    refused(folder.run(*run, '{"x": 6}'), "input.x")
    refused(folder.run(*run, "{}"), "x")
    refused(folder.run(*run, "[" * 100_000), "--input")
    refused(folder.run(*run, '{"x": NaN}'), "--input", "NaN")
    refused(folder.run(*run, '{"x": 1, "x": 2}'), "--input")
    refused(folder.run(*run, '{"x": "\\ud800"}'), "--input")
    refused(folder.run(*run, '{"x": 5}', "--query", "q" * 10_001), "10000")
    refused(folder.run(*run, '{"x": 5}', "--context", "[]"), "--context")
    assert folder.run("runs").json == []


def test_results_that_are_too_large_together(folder: Folder) -> None:
    """64 MiB in all; and inputs of 1 MiB each."""
    each = {"items": list(range(70)), "maxParallel": 8}
    folder.graph([{"name": "big", "worker": "makes", "with": {"size": 1_000_000}, "forEach": each}])
    answer = folder.run("run", "graph.yaml")
    assert (answer.code, answer.json["error"]["type"]) == (1, "InvalidOutput")
    assert "64 MiB" in answer.json["error"]["message"]
    run = str(answer.json["run"])
    assert folder.run("show", run).json["error"] == answer.json["error"]
    makes = {"name": "big", "worker": "makes", "with": {"size": 1_000_000}}
    folder.graph([makes, {"name": "two", "worker": "echo", "with": ["${tasks.big.output}", "${tasks.big.output}"]}])
    answer = folder.run("run", "graph.yaml")
    assert (answer.code, answer.json["error"]["type"]) == (1, "InvalidInput")
    assert "1 MiB" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("what", "given"),
    [
        ("input.a", {"input": {"a": {1, 2}}}),
        ("input.a[0]", {"input": {"a": [float("nan")]}}),
        ("input", {"input": object()}),
        ("context.when", {"context": {"when": Path("x")}}),
        ("context", {"context": {"n": 2**63}}),
        ("query", {"query": "half \ud800"}),
    ],
)
async def test_what_python_hands_in_must_be_json(tmp_path: Path, what: str, given: dict[str, Any]) -> None:
    async with Orchestrator(db=str(tmp_path / "journal.db")) as orchestrator:
        graph = {
            "metadata": {"name": "g"},
            "spec": {"tasks": [{"name": "a", "value": "${query}"}], "output": "${tasks.a.output}"},
        }
        with pytest.raises(ValidationError, match=re.escape(what)):
            await orchestrator.arun(graph, **given)
        assert await (await orchestrator.host()).journal.list_runs() == []
        assert (await orchestrator.arun(graph, "fine")).output == "fine"


def test_an_argument_that_is_no_text_is_refused(folder: Folder) -> None:
    folder.graph([{"name": "a", "worker": "echo", "with": {"q": "${query}"}}])
    refused(folder.run("run", "graph.yaml", "--query", os.fsdecode(b"half \xff")), "query")
