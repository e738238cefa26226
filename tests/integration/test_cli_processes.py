"""Runs that are stopped, watched, decided and taken over from other processes; databases that cannot be used."""

from __future__ import annotations

import contextlib
import os
import pty
import resource
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Arklex, Done, ended, until
from tests.integration.test_cli import HANDLERS, WORKER

HOLD = (
    WORKER.format(name="echo")
    + WORKER.format(name="hold")
    + """
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: hold}
spec:
  tasks:
  - {name: before, worker: echo, with: {x: 1}}
  - {name: held, worker: hold, dependsOn: [before], with: {started: started, release: release}}
  - {name: after, worker: echo, with: {x: "${tasks.held.output.held}"}}
  finally:
  - {name: last, value: "${run.phase}"}
  output: ${tasks.after.output.x}
"""
)
ASK = (
    WORKER.format(name="echo")
    + """
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: ask}
spec:
  tasks:
  - name: check
    approval:
      message: Really?
      schema: {type: object, required: [m], properties: {m: {type: integer}}}
  - {name: go, worker: echo, dependsOn: [check], with: "${tasks.check.output}"}
  output: ${tasks.go.output}
"""
)


@pytest.fixture
def arklex(tmp_path: Path) -> Arklex:
    command = Arklex(tmp_path)
    command.write("cli_handlers.py", HANDLERS)
    command.write("hold.yaml", HOLD)
    command.write("ask.yaml", ASK)
    return command


def held(arklex: Arklex) -> subprocess.Popen[str]:
    """A run whose task ``held`` is under way."""
    process = arklex.start("run", "hold.yaml", "--output", "json")
    until(lambda: (arklex.folder / "started").exists() or process.poll() is not None, "the handler starts")
    assert process.poll() is None, process.communicate()
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_resume_goes_on_elsewhere(arklex: Arklex, number: int, code: int, tmp_path: Path) -> None:
    process = held(arklex)
    process.send_signal(number)
    stopped = ended(process).fails(code)
    run = arklex.only_run()
    assert f"arklex resume {run}" in stopped.err
    assert stopped.out == ""
    assert arklex("show", run, "--output", "json").json["phase"] == "Running"
    arklex.write("release", "")
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "release").write_text("")
    document = arklex("resume", run, "--output", "json", cwd=other).works().json
    assert document["output"] is True
    assert document["tasks"]["before"]["attempts"] == 1
    assert document["tasks"]["held"]["attempts"] == 2


def test_kill_9_then_resume(arklex: Arklex) -> None:
    process = held(arklex)
    process.kill()
    process.communicate()
    arklex.write("release", "")
    run = arklex.only_run()
    document = arklex("resume", run, "--output", "json").works().json
    assert document["tasks"]["before"]["attempts"] == 1
    events = arklex("show", run, "--events", "--output", "json").json["events"]
    assert "Lost" in [event["event"] for event in events]


def test_a_run_that_runs_is_not_taken_over(arklex: Arklex) -> None:
    process = held(arklex)
    run = arklex.only_run()
    refused = arklex("resume", run, "--output", "json").fails(2)
    assert refused.reasons == ["RunOwned"]
    assert f"running in pid {process.pid}" in refused.json["errors"][0]["message"]
    arklex.write("release", "")
    assert ended(process).works().json["phase"] == "Succeeded"


def test_cancel_from_another_process(arklex: Arklex) -> None:
    process = held(arklex)
    run = arklex.only_run()
    assert arklex("cancel", run, "--output", "json").works().json["owned"] is True
    document = ended(process).fails(1).json
    assert document["phase"] == "Cancelled"
    assert document["tasks"]["last"]["output"] == "Cancelled"
    assert arklex("cancel", run, "--output", "json").fails(2).reasons == ["RunFinished"]


def waiting(arklex: Arklex) -> tuple[subprocess.Popen[str], str]:
    """A run that waits for its approval, and its id."""
    process = arklex.start("run", "ask.yaml", "--output", "json")
    run = until(lambda: next((row["run"] for row in arklex("runs", "--output", "json").json), None), "the run appears")
    until(lambda: arklex("show", run, "--output", "json").json["tasks"]["check"]["phase"] == "Waiting", "it waits")
    return process, str(run)


def test_approve_from_another_process(arklex: Arklex) -> None:
    process, run = waiting(arklex)
    assert arklex("approve", run, "nope", "--output", "json").fails(2).reasons == ["ApprovalNotFound"]
    assert arklex("approve", run, "check", "--data", '{"m": "x"}', "--output", "json").fails(2).reasons == ["Invalid"]
    assert "Really?" in arklex("show", run).works().out
    arklex("approve", run, "check", "--data", '{"m": 3}', "--by", "ada").works()
    done = ended(process).works()
    assert done.json["output"]["approved"] is True
    assert (done.json["output"]["by"], done.json["output"]["data"]) == ("ada", {"m": 3})
    assert f"arklex approve {run} check" in done.err
    arklex("approve", run, "check", "--data", '{"m": 3}').works()
    assert arklex("approve", run, "check", "--reject", "--output", "json").fails(2).reasons == ["AlreadyDecided"]


def test_reject_while_nobody_runs_it(arklex: Arklex) -> None:
    process, run = waiting(arklex)
    process.send_signal(signal.SIGTERM)
    ended(process).fails(143)
    said = arklex("approve", run, "check", "--reject").works()
    assert f"arklex resume {run}" in said.err
    document = arklex("resume", run, "--output", "json").fails(1).json
    assert document["tasks"]["check"]["error"]["type"] == "Denied"


def test_a_terminal_shows_the_run_and_asks(arklex: Arklex) -> None:
    ours, theirs = pty.openpty()
    command = arklex.command("run", "ask.yaml")
    env = {**arklex.env, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(
        command, cwd=arklex.folder, env=env, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True
    )
    os.close(theirs)
    heard = read_until(ours, "optional JSON data")
    assert "Really?" in heard
    os.write(ours, b'perhaps\nyes {"m": "x"}\nyes {"m": 4}\n')
    heard = read_until(ours, None)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, heard
    assert '"m": 4' in out
    assert "check" in heard
    assert "Succeeded" in heard


def read_until(terminal: int, text: str | None) -> str:
    heard = ""
    while text is None or text not in heard:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        heard += data.decode(errors="replace")
    return heard


def test_a_corrupt_or_newer_database_exits_3(arklex: Arklex) -> None:
    arklex.write("broken.db", "this is not a database " * 500)
    broken = arklex("runs", "--db", "broken.db", "--output", "json").fails(3)
    assert "corrupt" in broken.json["errors"][0]["message"]
    assert "corrupt" in arklex("run", "hold.yaml", "--db", "broken.db").fails(3).err
    arklex("run", "ask.yaml", "--db", "/dev/null/x.db").fails(3)
    arklex("runs", "--db", "new.db").works()
    with contextlib.closing(sqlite3.connect(arklex.folder / "new.db", isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer" in arklex("run", "ask.yaml", "--db", "new.db").fails(3).err


def test_a_locked_database_exits_3_and_works_afterwards(arklex: Arklex) -> None:
    arklex("runs", "--db", "locked.db").works()
    with sqlite3.connect(arklex.folder / "locked.db", isolation_level=None) as other:
        other.execute("begin exclusive")
        assert "locked" in arklex("run", "hold.yaml", "--db", "locked.db").fails(3).err
        other.execute("rollback")
    other.close()
    arklex.write("release", "")
    arklex("run", "hold.yaml", "--db", "locked.db").works()


def test_a_full_disk_exits_3_and_resume_goes_on(arklex: Arklex) -> None:
    arklex.write("big.yaml", WORKER.format(name="echo") + BIG)
    arklex("runs").works()

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    full = arklex("run", "big.yaml", preexec_fn=small).fails(3)
    assert "no space left" in full.err
    run = arklex.only_run()
    assert f"arklex resume {run}" in full.err
    document: dict[str, Any] = arklex("resume", run, "--output", "json").works().json
    assert document["output"] == 20


BIG = """
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: big}
spec:
  tasks:
  - {name: small, worker: echo, with: {x: 1}}
  - name: many
    dependsOn: [small]
    forEach: {items: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], maxParallel: 1}
    worker: echo
    with: {text: "BLOCK"}
  output: ${size(tasks.many.output)}
""".replace("BLOCK", "x" * 60_000)


def test_two_runs_at_once_share_a_database(arklex: Arklex) -> None:
    arklex.write("release", "")
    processes = [arklex.start("run", "hold.yaml", "--output", "json") for _ in range(3)]
    results: list[Done] = [ended(process).works() for process in processes]
    assert len({result.json["run"] for result in results}) == 3
    assert len(arklex("runs", "--output", "json").json) == 3
