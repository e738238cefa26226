"""T16, the database: a disk that is full or read-only, a file that is damaged or locked, met by runs in progress.

Each is reported for what it is (exit 3), acknowledges nothing that is not durable, and lets the run go on once it is over.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import check
from tests.faults.forkserver import Server
from tests.faults.graphs import SESSION
from tests.faults.sizes import NIGHTLY
from tests.faults.test_processes import effects, until_begun
from tests.faults.trials import outcome_of
from tests.faults.victim import Life
from tests.folders import Answer, Folder

MOMENTS = 20 if NIGHTLY else 5
HANDLERS = """
import asyncio, pathlib
HERE = pathlib.Path(__file__).parent
def note(context):
    with open(HERE / "ledger", "a") as file:
        file.write(f"{context.task_name} {context.attempt} {context.idempotency_key}\\n")
async def wait(inputs, context):
    note(context)
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    return "x" * inputs.get("size", 1)
"""


class Disk:
    """A file system of its own, in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path))

    def used(self) -> int:
        """Bytes in use."""
        return shutil.disk_usage(self.path).used

    def leave(self, free: int) -> None:
        """Fill it up until only so many bytes are free."""
        with (self.path / "filler").open("wb") as file:
            file.write(bytes(max(0, shutil.disk_usage(self.path).free - free)))

    def make_room(self) -> None:
        """Undo ``leave``."""
        (self.path / "filler").unlink()

    def remount(self, option: str) -> None:
        """Make it ``ro`` or ``rw``."""
        mount("-o", f"remount,{option}", str(self.path))


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    subprocess.run(["umount", "--lazy", str(made.path)], check=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.mark.mounts
@pytest.mark.parametrize("graph", ["each", "nested"])
async def test_a_disk_that_is_full_at_any_moment(server: Server, disk: Disk, tmp_path: Path, graph: str) -> None:
    """From where not even the schema fits to where only the end of the run does not."""

    def life(name: str) -> Life:
        ledger, out = str(tmp_path / f"{name}.ledger"), str(tmp_path / f"{name}.out")
        session = "s" if graph in SESSION else None
        return Life(str(disk.path / f"{name}.db"), ledger, out, graph, ["r0", "r1"], None, session, 12)

    before = disk.used()
    assert server.run(life("calm")) == 0
    needed = disk.used() - before
    hit = 0
    for moment in range(MOMENTS):
        one = life(f"m{moment}")
        disk.leave(4096 + needed * moment // MOMENTS)
        code = server.run(one)
        assert code in (0, 3), outcome_of(one)
        if code == 3:
            hit += 1
            assert outcome_of(one)["cause"] == "full", outcome_of(one)
        disk.make_room()
        assert server.run(one) == 0, outcome_of(one)
        findings = await check(one.db, Path(one.ledger), one.runs)
        assert findings.violations == []
        assert (findings.runs, findings.succeeded) == (2, 2)
        for file in disk.path.glob(f"{Path(one.db).name}*"):
            file.unlink()
    assert hit >= MOMENTS / 2, "the disk was hardly ever full"


def waiting(tmp_path: Path, size: int = 1, **options: Any) -> Folder:
    folder = Folder(tmp_path, HANDLERS, **options)
    first = {"name": "first", "worker": "wait", "with": {"size": size}}
    folder.graph([first, {"name": "second", "value": "${size(tasks.first.output)}"}], output="${tasks.second.output}")
    return folder


def unavailable(answer: Answer, cause: str) -> bool:
    """Whether the command said so, and nothing else."""
    (problem,) = answer.json["errors"]
    assert answer.code == 3 and cause in problem["message"] and "Traceback" not in answer.err, answer
    return True


@pytest.mark.mounts
def test_the_command_line_on_a_full_disk(disk: Disk, tmp_path: Path) -> None:
    folder = waiting(tmp_path, 400_000, db=disk.path / "journal.db")
    command = folder.start("run", "graph.yaml")
    until_begun(folder, 1)
    disk.leave(100_000)
    (tmp_path / "go").touch()
    answer = command.end()
    assert unavailable(answer, "full")
    run = folder.only_run()
    assert f"arklex resume {run}" in answer.err
    assert unavailable(folder.run("resume", run), "full")
    disk.make_room()
    answer = folder.run("resume", run)
    assert (answer.code, answer.json["output"]) == (0, 400_000)
    assert 2 <= len(effects(folder)) <= 3


@pytest.mark.mounts
def test_the_command_line_on_a_read_only_disk(disk: Disk, tmp_path: Path) -> None:
    folder = waiting(tmp_path, db=disk.path / "journal.db")
    command = folder.start("run", "graph.yaml")
    until_begun(folder, 1)
    command.process.kill()
    command.end()
    run = folder.only_run()
    (tmp_path / "go").touch()
    disk.remount("ro")
    assert unavailable(folder.run("run", "graph.yaml"), "read-only")
    assert unavailable(folder.run("resume", run), "read-only")
    disk.remount("rw")
    answer = folder.run("resume", run)
    assert (answer.code, answer.json["output"]) == (0, 1)
    assert len(effects(folder)) == 2


@pytest.mark.parametrize("damage", ["header", "pages", "half"])
def test_the_command_line_on_a_damaged_database(tmp_path: Path, damage: str) -> None:
    folder = waiting(tmp_path)
    command = folder.start("run", "graph.yaml")
    until_begun(folder, 1)
    command.process.terminate()
    assert command.end().code == 143
    run = folder.only_run()
    (tmp_path / "go").touch()
    good = folder.db.read_bytes()
    assert len(good) > 3 * 4096 and not Path(f"{folder.db}-wal").exists()
    bad = {
        "header": b"x" * 100 + good[100:],
        "pages": good[:4096] + b"x" * (len(good) - 4096),
        "half": good[: len(good) // 8192 * 4096],
    }
    folder.db.write_bytes(bad[damage])
    assert unavailable(folder.run("resume", run), "corrupt")
    assert unavailable(folder.run("run", "graph.yaml"), "corrupt")
    folder.db.write_bytes(good)
    answer = folder.run("resume", run)
    assert (answer.code, answer.json["output"]) == (0, 1)


def test_the_command_line_on_a_locked_database(tmp_path: Path) -> None:
    folder = waiting(tmp_path)
    command = folder.start("run", "graph.yaml")
    until_begun(folder, 1)
    run = folder.only_run()
    with closing(sqlite3.connect(folder.db, isolation_level=None)) as locker:
        locker.execute("BEGIN IMMEDIATE")
        (tmp_path / "go").touch()
        second = folder.start("run", "graph.yaml")
        answer = command.end()
        assert unavailable(answer, "locked") and f"arklex resume {run}" in answer.err
        assert unavailable(second.end(), "locked")
        locker.execute("ROLLBACK")
    assert folder.only_run() == run, "what was refused left nothing"
    answer = folder.run("resume", run)
    assert (answer.code, answer.json["output"]) == (0, 1)
    assert len(effects(folder)) == 2
