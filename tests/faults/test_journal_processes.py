"""Journals of several processes: death, takeover, fencing, sessions."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from arklex_runtime.errors import RunOwned
from arklex_runtime.state.journal import open_journal
from tests.journals import accept, outcomes, step, submit, texts
from tests.processes import finish, hear, kill, say, start_python

OWNER = """
import asyncio, os, sys
from arklex_runtime.state.journal import open_journal
from tests.journals import accept, outcomes, step, submit
async def main():
    journal = await open_journal(sys.argv[1])
    await submit(journal, accept("r"))
    if "fork" in sys.argv and os.fork() == 0:
        os.execlp("sleep", "sleep", "30") if "exec" in sys.argv else __import__("time").sleep(30)
    print("ready", flush=True)
    sys.stdin.readline()
    for seq in (2, 3):
        print(*[type(error).__name__ for error in await outcomes(journal, step("r", seq, "late"))], flush=True)
    sys.stdin.readline()
    await journal.close()
asyncio.run(main())
"""

WRITER = """
import asyncio, sys
from arklex_runtime.state.journal import open_journal
from tests.journals import accept, step, submit
async def main():
    journal = await open_journal(sys.argv[1])
    await submit(journal, accept("r"))
    seq = 1
    while True:
        seq += 1
        await submit(journal, step("r", seq))
        print(seq, flush=True)
asyncio.run(main())
"""

COUNTER = """
import asyncio, sys
from arklex_runtime.state.journal import open_journal
from tests.journals import accept, step, submit
async def main():
    journal = await open_journal(sys.argv[1])
    name = sys.argv[2]
    await submit(journal, accept(name))
    add = [{"n": {"$increment": 1}, name: True}]
    for seq in range(2, 102, 2):
        await asyncio.gather(
            submit(journal, step(name, seq, session_id="s", session_patches=add)),
            submit(journal, step(name, seq + 1, session_id="s", session_patches=add)),
            journal.update_session("s", {"m": {"$increment": 1}}),
        )
    await journal.close()
asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9_and_is_claimed_at_once(journal_url: str) -> None:
    process = start_python(WRITER, journal_url)
    acknowledged = [int(hear(process)) for _ in range(300)][-1]
    acknowledged = max([acknowledged, *map(int, kill(process).split("\n")[:-1])])
    journal = await open_journal(journal_url)
    seq = await claimed(journal_url, "r")
    events = await texts(journal, "r")
    assert len(events) == seq - 1 >= acknowledged + 1
    assert set(events[1:-1]) == {b'[["step"]]'}
    await journal.close()


async def claimed(url: str, run_id: str) -> int:
    """Claim a run of a dead process: at once on SQLite, as soon as the server sees the closed connection on PostgreSQL."""
    journal = await open_journal(url)
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    return await journal.claim(run_id)
                except RunOwned:
                    assert url.startswith("postgresql")
                    await asyncio.sleep(0.05)
    finally:
        await journal.close()


async def test_a_live_owner_keeps_its_run_though_it_is_stopped(journal_url: str) -> None:
    process = start_python(OWNER, journal_url)
    assert hear(process) == "ready"
    process.send_signal(signal.SIGSTOP)
    journal = await open_journal(journal_url)
    with pytest.raises(RunOwned) as caught:
        await journal.claim("r")
    assert caught.value.pid == (process.pid if journal_url.startswith("sqlite") else None)
    await journal.close()
    kill(process)


async def test_an_owner_that_is_taken_for_dead_is_fenced_off(tmp_path: Path) -> None:
    """Somebody removed its lock's file: from the claim on, nothing that it says counts."""
    database = tmp_path / "journal.db"
    process = start_python(OWNER, str(database))
    assert hear(process) == "ready"
    for lock in database.with_name("journal.db.owners").iterdir():
        lock.unlink()
    journal = await open_journal(str(database))
    seq = await journal.claim("r")
    say(process)
    assert [hear(process), hear(process)] == ["Fenced", "Fenced"]
    await submit(journal, step("r", seq))
    assert len(await texts(journal, "r")) == 3
    process.communicate("\n")
    await journal.close()


@pytest.mark.parametrize("how", ["fork", "exec"])
async def test_a_child_does_not_keep_its_dead_parents_runs(tmp_path: Path, how: str) -> None:
    process = start_python(OWNER, str(tmp_path / "journal.db"), "fork", how, start_new_session=True)
    assert hear(process) == "ready"
    process.kill()
    process.wait()
    journal = await open_journal(str(tmp_path / "journal.db"))
    assert await journal.claim("r") == 3
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    await journal.close()


async def test_sessions_lose_no_update_of_any_process(journal_url: str) -> None:
    await (await open_journal(journal_url)).close()
    processes = [start_python(COUNTER, journal_url, f"p{index}") for index in range(4)]
    await asyncio.gather(*[asyncio.to_thread(finish, process) for process in processes])
    journal = await open_journal(journal_url)
    assert await journal.get_session("s") == {"n": 400, "m": 200, "p0": True, "p1": True, "p2": True, "p3": True}
    await journal.close()


VISITOR = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT COUNT(*) FROM events").fetchone()[0])
connection.close()
"""


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
async def test_a_process_that_leaves_takes_no_commits_with_it(tmp_path: Path, synchronous: str) -> None:
    """It must see our locks and leave the log alone, whatever connections we opened and closed meanwhile."""
    database = tmp_path / "journal.db"
    journal = await open_journal(f"sqlite:///{database}?synchronous={synchronous}")
    await submit(journal, accept("r"))
    for seq in (2, 3, 4):
        second = await open_journal(str(database))
        await second.list_runs()
        await second.close()
        assert finish(start_python(VISITOR, str(database))).strip() == str(seq - 1)
        assert database.with_name("journal.db-wal").exists()
        await submit(journal, step("r", seq))
    assert finish(start_python(VISITOR, str(database))).strip() == "4"
    await journal.close()
    assert finish(start_python(VISITOR, str(database))).strip() == "4"
    assert database.stat().st_mode & 0o777 == 0o600


async def test_clean_exits_leave_no_locks(tmp_path: Path) -> None:
    process = start_python(OWNER, str(tmp_path / "journal.db"))
    assert hear(process) == "ready"
    assert (tmp_path / "journal.db.owners").exists()
    process.communicate("\n\n")
    assert not (tmp_path / "journal.db.owners").exists()
    journal = await open_journal(str(tmp_path / "journal.db"))
    assert await outcomes(journal, step("r", await journal.claim("r"))) == [None]
    await journal.close()
