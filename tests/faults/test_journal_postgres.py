"""The journal when its PostgreSQL server stops, restarts, or drops connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from arklex_runtime.errors import DatabaseUnavailable, Fenced, RunOwned
from arklex_runtime.state.journal import Journal, open_journal
from tests.journals import accept, outcomes, step, submit, texts
from tests.services import PostgresServer, postgres_server

pytestmark = pytest.mark.postgresql


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Return a server that these tests may stop."""
    with postgres_server() as server:
        yield server


async def test_restarts_lose_nothing_and_repeat_nothing(server: PostgresServer) -> None:
    url = server.database("restarts")
    journal = await open_journal(url, patience=60)
    stopping = True
    counts: dict[str, int] = {}

    async def writer(run_id: str) -> None:
        await submit(journal, accept(run_id))
        seq = 1
        while stopping or seq < 10:
            seq += 1
            await submit(journal, step(run_id, seq, f"{seq}", session_id="s", session_patches=[{"n": {"$increment": 1}}]))
        counts[run_id] = seq

    writers = [asyncio.create_task(writer(f"r{index}")) for index in range(8)]
    for _ in range(5):
        await asyncio.sleep(0.4)
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
    stopping = False
    await asyncio.gather(*writers)
    for run_id, count in counts.items():
        assert (await texts(journal, run_id))[1:] == [f'[["{seq}"]]'.encode() for seq in range(2, count + 1)]
    assert await journal.get_session("s") == {"n": sum(counts.values()) - len(counts)}
    assert await journal.owned() == set(counts)
    await journal.close()


async def test_a_server_that_stays_away_is_unreachable_and_its_gap_stays(server: PostgresServer) -> None:
    journal = await open_journal(server.database("away"), patience=0.5)
    await submit(journal, accept("r"))
    await asyncio.to_thread(server.stop)
    try:
        error, after = await outcomes(journal, step("r", 2), step("r", 3))
        assert isinstance(error, DatabaseUnavailable)
        assert (error.cause, error.retryable, after) == ("unreachable", True, error)
        with pytest.raises(DatabaseUnavailable):
            await open_journal(f"postgresql://arklex@127.0.0.1:{server.port}/away", patience=0.5)
    finally:
        await asyncio.to_thread(server.start)
    (missing,) = await outcomes(journal, step("r", 3))
    assert isinstance(missing, DatabaseUnavailable)
    assert await outcomes(journal, step("r", 2), step("r", 3)) == [None, None]
    assert len(await texts(journal, "r")) == 3
    await journal.close()


HOLDERS = "FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"


def drop_locks(server: PostgresServer) -> set[str]:
    """End the connections that hold owners' locks, return their pids."""
    held = holders(server)
    server.psql(f"SELECT pg_terminate_backend(pid, 10000) {HOLDERS}")
    return held


def holders(server: PostgresServer) -> set[str]:
    """Return the pids of the connections that hold owners' locks."""
    return set(server.psql(f"SELECT pid {HOLDERS}").split())


async def test_a_lost_lock_is_taken_again(server: PostgresServer) -> None:
    url = server.database("again")
    journal, other = await open_journal(url), await open_journal(url)
    await submit(journal, accept("r"))
    lost = await asyncio.to_thread(drop_locks, server)
    assert len(lost) == 2
    for _ in range(300):
        held = await asyncio.to_thread(holders, server)
        if len(held - lost) == 2:
            break
        await asyncio.sleep(0.1)
    assert len(held - lost) == 2
    assert await other.orphans() == []
    assert await outcomes(journal, step("r", 2)) == [None]
    await journal.close()
    await other.close()


async def test_whoever_claims_while_the_lock_is_lost_fences_us_off(server: PostgresServer) -> None:
    url = server.database("lost")
    journal, other = await open_journal(url), await open_journal(url)
    await submit(journal, accept("r"))
    seq = await claim_without_lock(server, other, "r")
    assert isinstance((await outcomes(journal, step("r", 2)))[0], Fenced)
    assert isinstance((await outcomes(journal, step("r", seq)))[0], Fenced)
    assert await outcomes(other, step("r", seq)) == [None]
    assert await journal.owned() == set()
    await journal.close()
    await other.close()


async def claim_without_lock(server: PostgresServer, journal: Journal, run_id: str) -> int:
    """Claim a run between the loss of its owner's lock and the moment when that takes it again."""
    for _ in range(20):
        await asyncio.to_thread(drop_locks, server)
        with contextlib.suppress(RunOwned):
            return await journal.claim(run_id)
    raise AssertionError("the owner took its lock again each time")


async def test_a_wrong_database_is_said_at_once(server: PostgresServer) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(DatabaseUnavailable, match="does not exist") as caught:
            await open_journal(f"postgresql://arklex@127.0.0.1:{server.port}/nowhere")
    assert caught.value.cause == "unreachable"
