"""The command line as its users call it: documents, exit codes, messages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from tests.commands import Arklex

HANDLERS = """
import os, time

def echo(inputs):
    return inputs

def need(inputs):
    if not os.path.exists(inputs["file"]):
        raise RuntimeError("not there yet")
    return {"found": True}

def talk(inputs, context):
    context.logger.info("looking up", extra={"with": "hunter2-key"})
    return "done"

def hold(inputs):
    open(inputs["started"], "a").write("started\\n")
    while not os.path.exists(inputs["release"]):
        time.sleep(0.02)
    return {"held": True}
"""
WORKER = """
apiVersion: arklex.ai/v1alpha1
kind: Worker
metadata: {{name: {name}}}
spec: {{type: custom, config: {{handler: "cli_handlers:{name}"}}}}
---
"""
GRAPH = """
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: pair}
spec:
  input:
    schema: {type: object, properties: {x: {type: integer}}}
  tasks:
  - {name: first, worker: echo, with: {x: "${has(input.x) ? input.x : 0}", q: "${query}", c: "${context}"}}
  - {name: second, worker: echo, when: "${tasks.first.output.x > 0}", with: {z: "${tasks.first.output.x + 1}"}}
  finally:
  - {name: last, value: "${run.phase}"}
  output: "${has(tasks.second.output) ? tasks.second.output : {'z': 0}}"
  run: {input: {x: 41}}
"""


@pytest.fixture
def arklex(tmp_path: Path) -> Arklex:
    command = Arklex(tmp_path)
    command.write("cli_handlers.py", HANDLERS)
    command.write("pair.yaml", WORKER.format(name="echo") + GRAPH)
    return command


def test_run_prints_the_output_and_says_on_stderr_what_happens(arklex: Arklex) -> None:
    done = arklex("run", "pair.yaml", "--input", '{"x": 1}').works()
    assert json.loads(done.out) == {"z": 2}
    assert re.search(r"^run pair-\w+$", done.err, re.M)
    assert re.search(r"^first Succeeded, \d+", done.err, re.M)
    assert "\x1b" not in done.out + done.err


def test_what_handlers_log_is_shown_without_secrets(arklex: Arklex) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: hunter2-key}\n---\n"
    graph = "apiVersion: arklex.ai/v1alpha1\nkind: TaskGraph\nmetadata: {name: g}\nspec: {tasks: [{name: a, worker: talk}]}\n"
    arklex.write("talk.yaml", secret + WORKER.format(name="talk") + graph)
    done = arklex("run", "talk.yaml").works()
    line = next(line for line in done.err.splitlines() if "looking up" in line)
    assert "run=" in line and "task=a" in line and "attempt=1" in line
    assert "hunter2-key" not in done.err and "***" in line


def test_progress_tells_of_tasks_that_end_as_the_run_begins(arklex: Arklex) -> None:
    document = {"apiVersion": "arklex.ai/v1alpha1", "kind": "TaskGraph", "metadata": {"name": "quick"}}
    tasks = [{"name": "first", "value": 1}, {"name": "second", "when": "${tasks.first.output > 1}", "value": 2}]
    arklex.write("quick.yaml", yaml.safe_dump({**document, "spec": {"tasks": tasks}}))
    done = arklex("run", "quick.yaml").works()
    assert re.search(r"^first Succeeded", done.err, re.M) and re.search(r"^second Skipped", done.err, re.M)


def test_the_document_of_a_run(arklex: Arklex) -> None:
    done = arklex("run", "pair.yaml", "--query", "why", "--context", '{"k": [1]}', "--input", "@in.json", "--output", "json")
    assert done.fails(2).reasons == ["Unreadable"]
    arklex.write("in.json", '{"x": 0}')
    document = arklex(
        "run", "pair.yaml", "--query", "why", "--context", '{"k": [1]}', "--input", "@in.json", "--output", "json"
    ).json
    assert set(document) >= {"run", "graph", "phase", "output", "error", "startedAt", "finishedAt", "tasks"}
    assert (document["graph"], document["phase"], document["output"], document["error"]) == (
        "pair",
        "Succeeded",
        {"z": 0},
        None,
    )
    first = document["tasks"]["first"]
    assert set(first) >= {"phase", "attempts", "startedAt", "finishedAt", "output", "error", "cached"}
    assert first["output"] == {"x": 0, "q": "why", "c": {"k": [1]}}
    assert document["tasks"]["second"]["phase"] == "Skipped"
    assert document["tasks"]["last"]["output"] == "Succeeded"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["startedAt"])


def test_without_input_it_takes_spec_run_and_stdin_is_a_file_too(arklex: Arklex) -> None:
    text = (arklex.folder / "pair.yaml").read_text()
    assert json.loads(arklex("run", "-", "--quiet", stdin=text).works().out) == {"z": 42}


def test_show_resume_and_runs_print_the_same_run(arklex: Arklex) -> None:
    document = arklex("run", "pair.yaml", "--output", "json").works().json
    run = document["run"]
    assert arklex("show", run, "--output", "json").works().json == document
    assert arklex("resume", run, "--output", "json").works().json == document
    arklex("run", "pair.yaml", "--input", '{"x": 5}').works()
    rows = arklex("runs", "--output", "json").works().json
    assert [set(row) for row in rows] == [{"run", "graph", "phase", "startedAt"}] * 2
    assert rows[1]["run"] == run
    assert arklex("runs", "--limit", "1", "--output", "json").json == rows[:1]
    assert arklex("runs", "--phase", "failed", "--output", "json").json == []
    assert arklex("runs", "--graph", "other", "--output", "json").json == []
    text = arklex("show", run, "--events").works().out
    assert re.search(r"^second +Succeeded +1 ", text, re.M)
    assert re.search(r"Started +first +1", text)
    assert run in arklex("runs").works().out


def test_show_draws_the_run(arklex: Arklex) -> None:
    run = arklex("run", "pair.yaml", "--output", "json").works().json["run"]
    arklex("show", run, "--picture", "run.svg").works()
    drawing = (arklex.folder / "run.svg").read_text()
    ET.fromstring(drawing)
    assert "p-Succeeded" in drawing
    assert run in drawing


def test_delete_and_prune(arklex: Arklex) -> None:
    run = arklex("run", "pair.yaml", "--output", "json").works().json["run"]
    assert arklex("prune", "--older-than", "1h", "--output", "json").works().json == {"deleted": 0}
    assert arklex("delete", run, "--output", "json").works().json == {"run": run, "deleted": True}
    assert arklex("delete", run, "--output", "json").fails(2).reasons == ["RunNotFound"]
    arklex("run", "pair.yaml").works()
    assert arklex("prune", "--older-than", "1ns", "--output", "json").works().json == {"deleted": 1}
    assert arklex("runs", "--output", "json").json == []


def test_a_failed_run_exits_1_and_retry_keeps_what_succeeded(arklex: Arklex) -> None:
    graph = """
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: late}
spec:
  tasks:
  - {name: one, worker: echo, with: {x: 1}}
  - {name: two, worker: need, with: {file: there, x: "${tasks.one.output.x}"}}
  output: ${tasks.two.output.found}
"""
    arklex.write("late.yaml", WORKER.format(name="echo") + WORKER.format(name="need") + graph)
    failed = arklex("run", "late.yaml", "--output", "json").fails(1)
    assert failed.json["error"]["message"]
    assert "not there yet" in failed.json["tasks"]["two"]["error"]["message"]
    assert "not there yet" in failed.err
    arklex.write("there", "")
    again = arklex("retry", failed.json["run"], "--output", "json").works().json
    assert again["output"] is True
    assert again["tasks"]["one"]["attempts"] == 0
    assert arklex("retry", failed.json["run"], "--from", "nope", "--output", "json").fails(2).reasons == ["Invalid"]


def test_lint_names_file_line_and_field(arklex: Arklex) -> None:
    bad = arklex.write(
        "bad.yaml", GRAPH.replace("worker: echo, with: {x", "worker: nobody, wiht: {x", 1).replace("first", "First", 1)
    )
    done = arklex("lint", "bad.yaml").fails(2)
    assert re.search(r"^bad\.yaml:\d+: spec\.tasks\[0\]\.wiht: ", done.err, re.M)
    assert re.search(r"^bad\.yaml:\d+: spec\.tasks\[0\]\.name: ", done.err, re.M)
    errors = arklex("lint", "bad.yaml", "--output", "json").fails(2).json["errors"]
    assert [set(error) for error in errors] == [{"file", "line", "path", "reason", "message"}] * len(errors)
    lines = bad.read_text().splitlines()
    assert any("wiht" in lines[error["line"] - 1] for error in errors)
    assert arklex("lint", "pair.yaml", "--output", "json").works().json == {"errors": []}
    (arklex.folder / "bad.yaml").unlink()
    assert "no problems" in arklex("lint", ".").works().out


def test_lint_says_how_to_apply_what_is_too_large_for_an_annotation(arklex: Arklex) -> None:
    head = "apiVersion: arklex.ai/v1alpha1\nkind: TaskGraph\nmetadata: {name: big}\nspec:\n  tasks:\n"
    for count, said in ((10, False), (21, True)):
        tasks = "".join(f"  - {{name: t{number}, value: {'x' * 10_000}}}\n" for number in range(count))
        arklex.write("big.yaml", head + tasks)
        told = arklex("lint", "big.yaml").works().err
        assert ("big.yaml: TaskGraph 'big' has 205 KiB: use kubectl apply --server-side" in told) == said
    (arklex.folder / "big.yaml").unlink()


def test_plan_prints_levels_and_renders_what_is_known(arklex: Arklex) -> None:
    plain = arklex("plan", "pair.yaml", "--output", "json").works().json
    assert [[task["name"] for task in level] for level in plain["levels"]] == [["first"], ["second"]]
    assert plain["levels"][1][0]["dependsOn"] == ["first"]
    assert [task["name"] for task in plain["finally"]] == ["last"]
    given = arklex("plan", "pair.yaml", "--input", '{"x": 3}', "--query", "hi", "--output", "json").works().json
    assert given["levels"][0][0]["with"] == {"value": {"x": 3, "q": "hi", "c": {}}}
    assert given["levels"][1][0]["when"]["waitsFor"] == ["first"]
    assert given["finally"][0]["value"]["waitsFor"] == ["the run"]
    assert "level 1" in arklex("plan", "pair.yaml", "--input", '{"x": 3}').works().out
    assert arklex("plan", "pair.yaml", "--input", '{"x": "no"}', "--output", "json").fails(2).reasons == ["Invalid"]
    assert arklex("runs", "--output", "json").json == []


def test_graph_draws_svg_and_mermaid(arklex: Arklex) -> None:
    ET.fromstring(arklex("graph", "pair.yaml").works().out)
    assert "flowchart TD" in arklex("graph", "pair.yaml", "--mermaid").works().out
    arklex("graph", "pair.yaml", "-o", "pair.svg").works()
    arklex("graph", "pair.yaml", "-o", "pair.mmd", "--right").works()
    assert (arklex.folder / "pair.svg").read_text() == arklex("graph", "pair.yaml").out
    assert (arklex.folder / "pair.mmd").read_text().startswith("---")
    arklex("graph", "pair.yaml", "-o", "pair.png").fails(2)


def test_crds_and_version(arklex: Arklex) -> None:
    names = [document["metadata"]["name"] for document in yaml.safe_load_all(arklex("crds").works().out)]
    assert set(names) == {"workers.arklex.ai", "taskgraphs.arklex.ai", "taskgraphruns.arklex.ai"}
    arklex("crds", "-o", "out").works()
    assert len(list((arklex.folder / "out").glob("*.yaml"))) == 3
    assert arklex("version").works().out.startswith("arklex ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["run", "nowhere.yaml"], "Unreadable"),
        (["run", "pair.yaml", "--graph", "nope"], "UnknownGraph"),
        (["run", "pair.yaml", "two.yaml"], "WhichGraph"),
        (["run", "pair.yaml", "--input", "{"], "InvalidJSON"),
        (["run", "pair.yaml", "--input", '{"x": 1, "x": 2}'], "InvalidJSON"),
        (["run", "pair.yaml", "--input", '{"x": NaN}'], "InvalidJSON"),
        (["run", "pair.yaml", "--input", '{"x": "one"}'], "Invalid"),
        (["run", "pair.yaml", "--input", "[" * 100_000], "InvalidJSON"),
        (["run", "pair.yaml", "--context", "[1]"], "InvalidJSON"),
        (["run", "pair.yaml", "--query", "x" * 10_001], "Invalid"),
        (["run", "pair.yaml", "--db", "sqlite:///x.db?synchronous=MAYBE"], "Invalid"),
        (["run", "pair.yaml", "--no-such-option"], "Usage"),
        (["run", "pair.yaml", "--max-workers", "0"], "Usage"),
        (["frobnicate"], "Usage"),
        (["run", "rag.yaml"], "NotEmbedded"),
        (["run", "missing.yaml"], "HandlerInvalid"),
        (["show", "nope"], "RunNotFound"),
        (["resume", "nope"], "RunNotFound"),
        (["cancel", "nope"], "RunNotFound"),
        (["approve", "nope", "task"], "RunNotFound"),
        (["retry", "nope"], "RunNotFound"),
        (["runs", "--phase", "asleep"], "UnknownPhase"),
        (["prune", "--older-than", "1d"], "Invalid"),
    ],
)
def test_bad_input_exits_2_with_a_reason(arklex: Arklex, arguments: list[str], reason: str) -> None:
    arklex.write("two.yaml", GRAPH.replace("name: pair", "name: other"))
    rag = WORKER.format(name="echo").replace("type: custom", "type: rag").replace("handler: ", "collection: ")
    arklex.write("rag.yaml", rag + GRAPH.replace("worker: echo,", "worker: echo, action: search,"))
    arklex.write("missing.yaml", WORKER.format(name="echo").replace("cli_handlers", "no_such_module") + GRAPH)
    done = arklex(*arguments, "--output", "json").fails(2)
    assert done.reasons == [reason]


@pytest.mark.parametrize("arguments", [["--help"], ["lint", "pair.yaml"], ["graph", "pair.yaml"], ["version"]])
def test_quick_commands_import_nothing_heavy(arklex: Arklex, arguments: list[str]) -> None:
    heavy = {"rich", "prompt_toolkit", "sqlalchemy", "aiohttp", "uvloop", "pydantic_ai", "jsonschema", "prometheus_client"}
    code = f"""
import sys
from arklex_runtime.cli.main import main
main({arguments!r})
print(sorted({heavy!r} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=arklex.folder, env=arklex.env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_harm_no_database(arklex: Arklex, closed: str) -> None:
    line = f'"$@" {closed}'
    command = ["sh", "-c", line, "sh", *arklex.command("run", "pair.yaml")]
    done = subprocess.run(command, cwd=arklex.folder, env=arklex.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [row["phase"] for row in arklex("runs", "--output", "json").works().json] == ["Succeeded"]


def test_a_full_device_behind_stdout_exits_3(arklex: Arklex) -> None:
    with open("/dev/full", "w") as full:
        command = arklex.command("run", "pair.yaml", "--quiet")
        done = subprocess.run(
            command, cwd=arklex.folder, env=arklex.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 3
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pipe_that_closes_early_is_no_error(arklex: Arklex) -> None:
    process = arklex.start("crds")
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        process.stdout.read(10)
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
