"""What a journal says of a disk that is full, read-only, damaged, or locked by others: the truth, soon."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.state.journal import open_journal
from tests.journals import accept, outcomes, step, submit, texts
from tests.processes import finish, start_python
from tests.services import server_folder, unprivileged

LIMITED = """
import asyncio, resource, sys
from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.state.journal import open_journal
from arklex_runtime.state.records import Batch
from tests.journals import accept, outcomes, step, submit
async def main():
    journal = await open_journal(sys.argv[1])
    await submit(journal, accept("r"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    acknowledged, error = 1, None
    while error is None:
        batch = Batch("r", acknowledged + 1, b"x" * 5000, session_id="s", session_patches=[{"n": {"$increment": 1}}])
        (error,) = await outcomes(journal, batch)
        acknowledged += error is None
    assert isinstance(error, DatabaseUnavailable) and error.cause == "full", repr(error)
    later = await outcomes(journal, step("r", acknowledged + 2), accept("other"))
    assert later[0] is error, "no batch after a gap"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    stored = await journal.load("r")
    assert len(stored.events) == acknowledged, (len(stored.events), acknowledged)
    assert (await journal.get_session("s"))["n"] == acknowledged - 1
    assert await outcomes(journal, batch, step("r", acknowledged + 2)) == [None, None]
    await journal.close()
    print(acknowledged + 2)
asyncio.run(main())
"""

# Drops its privileges after the imports: the interpreter may be where only root can read.
READ_ONLY = """
import asyncio, os, pwd, sys
import arklex_runtime.state.sqlite
from arklex_runtime.errors import DatabaseUnavailable
from arklex_runtime.state.journal import open_journal
from tests.journals import accept, outcomes
async def main():
    try:
        journal = await open_journal(sys.argv[1])
        (error,) = await outcomes(journal, accept("r"))
        await journal.close()
    except DatabaseUnavailable as refused:
        error = refused
    print(error.cause)
if sys.argv[2]:
    os.setgroups([])
    os.setgid(pwd.getpwnam(sys.argv[2]).pw_gid)
    os.setuid(pwd.getpwnam(sys.argv[2]).pw_uid)
asyncio.run(main())
"""


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
async def test_a_file_that_cannot_grow_keeps_what_was_acknowledged(tmp_path: Path, synchronous: str) -> None:
    url = f"sqlite:///{tmp_path / 'journal.db'}?synchronous={synchronous}"
    batches = int(finish(start_python(LIMITED, url)))
    journal = await open_journal(url)
    assert len(await texts(journal, "r")) == batches > 10
    await journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the root of a file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.mounts
@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
async def test_a_full_disk_refuses_and_goes_on_when_there_is_room(small_disk: Path, synchronous: str) -> None:
    journal = await open_journal(f"sqlite:///{small_disk / 'journal.db'}?synchronous={synchronous}")
    await submit(journal, accept("r"))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    acknowledged = 1
    while (error := (await outcomes(journal, step("r", acknowledged + 1, "y" * 3000)))[0]) is None:
        acknowledged += 1
    assert isinstance(error, DatabaseUnavailable)
    assert (error.cause, error.exit_code) == ("full", 3)
    assert len(await texts(journal, "r")) == acknowledged
    filler.unlink()
    assert await outcomes(journal, step("r", acknowledged + 1)) == [None]
    assert len(await texts(journal, "r")) == acknowledged + 1
    await journal.close()


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_read_only_database_says_so(what: str) -> None:
    with server_folder() as folder:
        database = folder / "journal.db"
        await (await open_journal(str(database))).close()
        database.chmod(0o444)
        folder.chmod(0o555 if what == "folder" else 0o755)
        assert finish(start_python(READ_ONLY, str(database), unprivileged() or "")).strip() == "readonly"
        folder.chmod(0o755)


async def test_a_file_of_something_else_is_corrupt_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(DatabaseUnavailable) as caught:
        await open_journal(str(path))
    assert caught.value.cause == "corrupt"
    assert path.read_bytes() == b"this is no database" * 1000


async def test_a_damaged_page_is_an_error_not_a_wrong_answer(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_journal(str(path))
    await submit(journal, accept("r"))
    for seq in range(2, 300):
        await submit(journal, step("r", seq, "z" * 500))
    await journal.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xa5" * (size - 8 * 4096))
    journal = await open_journal(str(path))
    with pytest.raises(DatabaseUnavailable) as caught:
        await journal.load("r")
    assert caught.value.cause == "corrupt"
    (error,) = await outcomes(journal, step("r", 300))
    assert isinstance(error, DatabaseUnavailable)
    assert error.cause == "corrupt"
    await journal.close()


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
async def test_a_locked_database_waits_without_holding_up_the_loop(tmp_path: Path, synchronous: str) -> None:
    path = tmp_path / "journal.db"
    journal = await open_journal(f"sqlite:///{path}?synchronous={synchronous}")
    await submit(journal, accept("r"))
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    session = asyncio.ensure_future(journal.update_session("s", {"a": 1}))
    pending = [submit(journal, step("r", 2))]
    turns = 0
    while turns < 50:
        await asyncio.sleep(0.002)
        turns += 1
        pending.append(submit(journal, step("r", turns + 2)))
    assert not any(future.done() for future in pending)
    locker.execute("ROLLBACK")
    locker.close()
    await asyncio.gather(*pending)
    assert await session == {"a": 1}
    assert len(await texts(journal, "r")) == 52
    await journal.close()


async def test_a_database_that_stays_locked_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_journal(str(path), patience=0.2)
    await submit(journal, accept("r"))
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    error, after = await outcomes(journal, step("r", 2), step("r", 3))
    assert isinstance(error, DatabaseUnavailable)
    assert (error.cause, error.retryable, after) == ("locked", True, error)
    with pytest.raises(DatabaseUnavailable, match="locked"):
        await journal.update_session("s", {"a": 1})
    assert len(await texts(journal, "r")) == 1, "readers wait for nobody"
    locker.execute("ROLLBACK")
    locker.close()
    assert await outcomes(journal, step("r", 3)) == [error], "no batch before the one that is missing"
    assert await outcomes(journal, step("r", 2), step("r", 3)) == [None, None]
    await journal.close()
