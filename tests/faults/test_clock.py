"""T16, the clock: steps of an hour, forwards and back, while a run goes on and while it lies still."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_processes import effects, until_begun
from tests.folders import Folder

HOUR = 3600.0
CLOCK = """
import time
from pathlib import Path
_true, _offset = time.time, Path({path!r})
def _stepped():
    return _true() + float(_offset.read_text())
time.time = _stepped
"""
HANDLERS = """
import asyncio, pathlib
from arklex_runtime.errors import TaskError
HERE = pathlib.Path(__file__).parent
def note(context):
    with open(HERE / "ledger", "a") as file:
        file.write(f"{context.task_name} {context.attempt} {context.idempotency_key}\\n")
async def once(inputs, context):
    note(context)
    if context.attempt == 1:
        raise TaskError("Unavailable", "not yet")
    return context.attempt
async def wait(inputs, context):
    note(context)
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    return context.attempt
"""


class Clock:
    """The clock of every command that runs in the folder."""

    def __init__(self, folder: Folder) -> None:
        self._file = folder.path / "offset"
        (site := folder.path / "site").mkdir()
        (site / "sitecustomize.py").write_text(CLOCK.format(path=str(self._file)))
        folder.environ["PYTHONPATH"] = str(site)
        self.step(0)

    def step(self, seconds: float) -> None:
        """Set it to so many seconds ahead of the true time."""
        self._file.with_suffix(".new").write_text(str(seconds))
        self._file.with_suffix(".new").rename(self._file)


def make(tmp_path: Path, backoff: str) -> tuple[Folder, Clock]:
    folder = Folder(tmp_path, HANDLERS)
    retry = {"limit": 1, "backoff": {"initial": backoff, "jitter": 0}}
    tasks: list[dict[str, Any]] = [
        {"name": "wait", "worker": "wait", "timeout": "10m"},
        {"name": "once", "worker": "once", "retry": retry, "timeout": "10m"},
        {"name": "last", "value": "${tasks.wait.output + tasks.once.output}"},
    ]
    folder.graph(tasks, output="${tasks.last.output}", timeout="30m")
    return folder, Clock(folder)


def orderly(document: dict[str, Any]) -> bool:
    """Whether nothing ended before it began."""
    spans = [document, *document["tasks"].values()]
    times = [tuple(datetime.fromisoformat(span[name]) for name in ("startedAt", "finishedAt")) for span in spans]
    return all(start <= end for start, end in times)


def until_durable(folder: Folder, text: bytes) -> None:
    """Wait until the journal holds the text."""
    deadline = time.monotonic() + 60
    while True:
        with closing(sqlite3.connect(folder.db)) as connection:
            if any(text in batch for (batch,) in connection.execute("SELECT events FROM events")):
                return
        assert time.monotonic() < deadline, "it was never durable"
        time.sleep(0.01)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_step_while_the_run_goes_on_changes_nothing(tmp_path: Path, step: float) -> None:
    """No timeout comes early, no retry late."""
    folder, clock = make(tmp_path, "500ms")
    command = folder.start("run", "graph.yaml")
    until_begun(folder, 2)
    clock.step(step)
    until_begun(folder, 3)
    (tmp_path / "go").touch()
    answer = command.end()
    assert answer.code == 0, answer
    assert answer.json["output"] == 3 and orderly(answer.json)
    assert abs(datetime.fromisoformat(answer.json["startedAt"]).timestamp() - time.time()) < HOUR / 2


@pytest.mark.parametrize("first", [-HOUR / 4, HOUR])
def test_a_run_whose_first_owners_clock_was_wrong_goes_on_at_once(tmp_path: Path, first: float) -> None:
    """Its retry is due an hour from now by the new owner's clock, which nobody waits for."""
    folder, clock = make(tmp_path, "1s")
    clock.step(first)
    command = folder.start("run", "graph.yaml")
    until_begun(folder, 2)
    until_durable(folder, b"not yet")
    command.process.send_signal(signal.SIGKILL)
    command.end()
    clock.step(0)
    (tmp_path / "go").touch()
    answer = folder.run("resume", folder.only_run())
    assert answer.code == 0, answer
    assert answer.json["phase"] == "Succeeded" and orderly(answer.json)
    assert {task for task, *_ in effects(folder)} == {"wait", "once"}
    began = datetime.fromisoformat(answer.json["startedAt"]).timestamp()
    assert abs(began - time.time() - first) < HOUR / 8
