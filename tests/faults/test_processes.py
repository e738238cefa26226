"""Processes that die, are stopped, or want the same run: through the command line, as a user meets it."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.folders import Folder

HANDLERS = """
import asyncio, os, pathlib, signal, sys, time
HERE = pathlib.Path(__file__).parent
def note(context):
    with open(HERE / "ledger", "a") as file:
        file.write(f"{context.task_name} {context.attempt} {context.idempotency_key}\\n")
def bomb(inputs, context):
    note(context)
    os.kill(os.getpid(), signal.SIGKILL) if inputs["how"] == "kill" else os._exit(9)
def echo(inputs, context):
    note(context)
    return inputs
async def wait(inputs, context):
    note(context)
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    return context.attempt
def hold(inputs, context):
    note(context)
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return context.attempt
"""


def effects(folder: Folder) -> list[list[str]]:
    ledger = folder.path / "ledger"
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


def until_begun(folder: Folder, count: int) -> None:
    """Wait for so many effects."""
    deadline = time.monotonic() + 60
    while len(effects(folder)) < count:
        assert time.monotonic() < deadline, "nothing began"
        time.sleep(0.01)


@pytest.mark.parametrize(("parallel", "concurrency"), [(1, 10), (10, 1)])
def test_a_task_that_kills_its_process_ends_worker_lost(tmp_path: Path, parallel: int, concurrency: int) -> None:
    """After lostLimit + 1 starts; a task that waited for a slot, of the graph or of its worker, is not charged."""
    folder = Folder(tmp_path, HANDLERS)
    bomb = {"name": "bomb", "worker": "bomb", "with": {"how": "kill"}, "retry": {"lostLimit": 1}, "onError": "continue"}
    next_ = {"name": "next", "worker": "bomb", "with": {"how": "exit"}, "retry": {"lostLimit": 0}, "onError": "continue"}
    folder.graph([bomb, next_], concurrency=concurrency, maxParallel=parallel)
    codes = [folder.run("run", "graph.yaml").code]
    run = folder.only_run()
    while (answer := folder.run("resume", run)).code not in (0, 1, 2, 3) and len(codes) < 10:
        codes.append(answer.code)
    assert sorted(codes) == [-signal.SIGKILL, -signal.SIGKILL, 9]
    assert answer.code == 0, answer
    tasks = answer.json["tasks"]
    assert {name: (task["attempts"], task["error"]["type"]) for name, task in tasks.items()} == {
        "bomb": (2, "WorkerLost"),
        "next": (1, "WorkerLost"),
    }
    starts = [entry for entry in effects(folder) if entry[0] == "bomb"]
    assert [entry[1] for entry in starts] == ["1", "2"] and len({entry[2] for entry in starts}) == 1


@pytest.mark.parametrize(("handler", "number"), [("wait", signal.SIGTERM), ("hold", signal.SIGINT)])
def test_a_stopped_process_gives_its_attempts_back(tmp_path: Path, handler: str, number: signal.Signals) -> None:
    folder = Folder(tmp_path, HANDLERS)
    retry = {"lostLimit": 0}
    folder.graph([{"name": "long", "worker": handler, "retry": retry}], output="${tasks.long.output}")
    command = folder.start("run", "graph.yaml")
    for times in (1, 2):
        until_begun(folder, times)
        command.process.send_signal(number)
        answer = command.end()
        assert (answer.code, answer.out) == (128 + number, "")
        run = folder.only_run()
        assert run in answer.err and "resume" in answer.err
        command = folder.start("resume", run)
    until_begun(folder, 3)
    (tmp_path / "go").touch()
    answer = command.end()
    assert (answer.code, answer.json["output"]) == (0, 3), answer
    assert len({entry[2] for entry in effects(folder)}) == 1


def test_a_run_whose_process_lives_is_not_taken_over(tmp_path: Path) -> None:
    """Stopped by SIGSTOP it lives still."""
    folder = Folder(tmp_path, HANDLERS)
    folder.graph([{"name": "long", "worker": "wait"}])
    owner = folder.start("run", "graph.yaml")
    until_begun(folder, 1)
    run = folder.only_run()
    for stopped in (False, True):
        if stopped:
            owner.process.send_signal(signal.SIGSTOP)
        refused = folder.run("resume", run)
        assert refused.code == 2 and f"pid {owner.process.pid}" in refused.message, refused
    owner.process.send_signal(signal.SIGCONT)
    (tmp_path / "go").touch()
    assert owner.end().code == 0
    assert len(effects(folder)) == 1
    over = folder.run("resume", run)
    assert (over.code, over.json["phase"]) == (0, "Succeeded")


def test_of_processes_that_resume_at_once_one_wins(tmp_path: Path) -> None:
    folder = Folder(tmp_path, HANDLERS)
    folder.graph([{"name": "long", "worker": "wait"}])
    dead = folder.start("run", "graph.yaml")
    until_begun(folder, 1)
    dead.process.kill()
    dead.end()
    run = folder.only_run()
    rivals = [folder.start("resume", run) for _ in range(3)]
    until_begun(folder, 2)
    losers = [rival.end() for rival in rivals if rival.process.pid != winner(rivals)]
    (tmp_path / "go").touch()
    won = [rival.end() for rival in rivals if rival.process.pid == winner(rivals)]
    assert [answer.code for answer in won] == [0]
    assert [answer.code for answer in losers] == [2, 2]
    assert all(f"pid {winner(rivals)}" in answer.message for answer in losers)
    assert [entry[1] for entry in effects(folder)] == ["1", "2"]


def winner(rivals: list[Any]) -> int:
    """The pid of the only one that goes on."""
    deadline = time.monotonic() + 60
    while len(alive := [rival.process.pid for rival in rivals if rival.process.returncode in (None, 0)]) > 1:
        assert time.monotonic() < deadline, "more than one goes on"
        time.sleep(0.01)
        for rival in rivals:
            rival.process.poll()
    return int(alive[0])
