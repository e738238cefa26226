"""``arklex --server``: the runtime's door from a command line, with the documents and exit codes of the embedded one."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.kube import Kube, Object, graph, step, worker
from tests.cluster.release import Release
from tests.commands import Arklex


@pytest.fixture
def there(release: Release, space: Kube, tmp_path: Path) -> Arklex:
    """Return the command line, told of the door, its token and the test's namespace."""
    arklex = Arklex(tmp_path)
    arklex.write("token", release.token())
    arklex.env |= {"ARKLEX_SERVER": release.door_url(), "ARKLEX_TOKEN_FILE": str(tmp_path / "token")}
    return arklex


def test_run_look_and_read_logs(there: Arklex, space: Kube) -> None:
    add = step("add", given={"n": "${input.n + 1}"})
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    space.apply(worker("probe"), graph("sum", [add], input={"schema": schema}, output="${tasks.add.output.n}"))
    space.until_condition("taskgraph", "sum", "WorkersReady")
    where = ("--namespace", space.namespace)

    done = there("run", "sum", "--input", '{"n": 41}', *where).works()
    assert done.out == "42\n"
    assert "add Succeeded" in done.err
    run = done.err.splitlines()[0].removeprefix("run ")
    assert [row["run"] for row in there("runs", *where, "--output", "json").works().json] == [run]
    document = there("show", run, "--events", *where, "--output", "json").works().json
    assert (document["phase"], document["output"]) == ("Succeeded", 42)
    assert any(event.get("task") == "add" for event in document["events"])
    (log,) = there("logs", run, "add", *where, "--output", "json").works().json
    assert log["task"] == "add" and log["pod"].startswith("probe-worker-") and "begins echo" in log["text"]
    assert space.status("taskgraph", "sum")["lastRun"]["name"] == run
    assert space.all("taskgraphruns") == [], "runs over the door make no objects"

    refused = there("run", "sum", "--input", "{}", *where, "--output", "json").fails(2)
    assert "n" in refused.json["errors"][0]["message"]
    there("run", "nothing", *where).fails(2)
    there("show", "nothing-there", *where).fails(2)


def begun(there: Arklex, words: tuple[str, ...]) -> str | None:
    rows = json.loads(there(*words).out)
    return str(rows[0]["run"]) if rows else None


def taken(there: Arklex, words: tuple[str, ...]) -> bool:
    return there(*words).code == 0


def test_wait_decide_and_cancel(there: Arklex, space: Kube) -> None:
    tasks: list[Object] = [
        {"name": "check", "approval": {"message": "Go on?"}},
        {"name": "end", "value": "${tasks.check.output.by}"},
    ]
    space.apply(graph("gate", tasks, output="${tasks.end.output}"))
    space.until_condition("taskgraph", "gate", "Accepted")
    where = ("--namespace", space.namespace)
    for answer, phase in (("approve", "Succeeded"), ("cancel", "Cancelled")):
        with there.start("run", "gate", *where) as process:
            looked = ("runs", "--phase", "Running", *where, "--output", "json")
            run = space.until(partial(begun, there, looked), "a run") or ""
            words = ("approve", run, "check", "--by", "ada") if answer == "approve" else ("cancel", run)
            space.until(partial(taken, there, (*words, *where)), "the answer is taken")
            assert process.wait(120) == (0 if phase == "Succeeded" else 1)
        assert there("show", run, *where, "--output", "json").works().json["phase"] == phase


def test_who_has_no_token_hears_nothing(there: Arklex, space: Kube) -> None:
    there.write("token", "wrong")
    refused = there("runs", "--namespace", space.namespace, "--output", "json")
    assert refused.code == 2 and "errors" in refused.json
