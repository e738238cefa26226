"""What replicas ask of the journal: leases, takeover, parked runs, counts, logs, retention; over each database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from arklex_runtime.errors import DatabaseUnavailable, RunOwned
from arklex_runtime.state.records import AttemptLog, Batch, EndOfRun, NewRun, Origin
from arklex_runtime.state.replicas import ReplicaJournal, open_replica
from arklex_runtime.state.statements import Steps
from tests.journals import STARTED, outcomes, step, submit

LEASE = 2.0


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ReplicaJournal]:
    """Return a replica's journal."""
    url = f"sqlite:///{tmp_path / 'j.db'}" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    journal = await open_replica(url, lease=LEASE, name="one", now=lambda: STARTED + 10)
    yield journal
    await journal.close()


def begin(run_id: str, graph_uid: str | None = "uid", object_uid: str | None = None, at: float = STARTED) -> Batch:
    """Return the first batch of a run of the cluster."""
    origin = Origin(graph_uid, object_uid, f"object-{run_id}" if object_uid else None)
    return Batch(run_id, 1, b'[["accepted"]]', new_run=NewRun(run_id, "graph", "team", "digest", None, at, origin))


def finish(run_id: str, phase: str = "Succeeded", seq: int = 2, at: float = STARTED + 1) -> Batch:
    """Return the last batch of a run of the cluster."""
    return Batch(run_id, seq, b'[["end"]]', end=EndOfRun(phase, at, "uid", "team", "graph"))


async def test_runs_are_found_by_graph_object_and_id(journal: ReplicaJournal) -> None:
    for batch in (begin("a"), begin("b", object_uid="o"), begin("c", None)):
        await submit(journal, batch)
    found = await journal.records(object_uids=["o", "none"], run_ids=["a", "b", "none"])
    assert {row.run_id: row.origin for row in found} == {
        "a": Origin("uid"),
        "b": Origin("uid", "o", "object-b"),
    }
    assert [row.run_id for row in await journal.unfinished()] == ["a", "b"]
    assert await journal.unfinished(["other"]) == []
    assert await journal.mine() == {"a", "b"}


async def test_ends_are_counted_once_and_outlive_their_runs(journal: ReplicaJournal) -> None:
    for name in "abcd":
        await submit(journal, begin(name, at=STARTED + ord(name)))
    assert await outcomes(journal, finish("a"), finish("b", "Failed"), finish("c", "Cancelled")) == [None, None, None]
    counts = await journal.counts("uid")
    assert (counts.active, counts.succeeded, counts.failed, counts.last and counts.last.run_id) == (1, 1, 2, "d")
    assert await journal.retire("Succeeded", STARTED) == 0
    assert [await journal.retire(phase, STARTED + 5) for phase in ("Succeeded", "Failed", "Cancelled")] == [1, 1, 1]
    counts = await journal.counts("uid")
    assert (counts.active, counts.succeeded, counts.failed) == (1, 1, 2)
    assert [row.run_id for row in await journal.list_runs()] == ["d"]
    assert await journal.counted() == []
    await journal.forget_counts("uid")
    assert (await journal.counts("uid")).succeeded == 1
    await submit(journal, finish("d"))
    await journal.delete_run("d")
    assert await journal.counted() == [("uid", "team", "graph")]
    await journal.forget_counts("uid")
    assert await journal.counted() == []
    assert (await journal.counts("uid")).succeeded == 0


async def test_a_parked_run_sleeps_until_it_is_due_or_asked(journal: ReplicaJournal) -> None:
    now = STARTED + 10
    for name in ("due", "far", "asked"):
        await submit(journal, begin(name))
    assert await journal.park("due", now - 1) and await journal.park("far", now + 60)
    await journal.add_signal("asked", "cancel", {})
    assert not await journal.park("asked", now + 60)
    assert [row.run_id for row in await journal.awake()] == ["due"]
    await journal.add_signal("far", "cancel", {})
    assert {row.run_id for row in await journal.awake()} == {"due", "far"}
    assert await journal.claim("far") == 3
    assert await journal.mine() == {"asked", "far"}


async def test_runs_let_go_at_once_are_anybodys(journal: ReplicaJournal) -> None:
    for name in ("a", "b"):
        await submit(journal, begin(name))
    await submit(journal, begin("embedded", None))
    assert await journal.awake() == []
    await journal.release_all()
    assert [row.run_id for row in await journal.awake()] == ["a", "b"]


async def test_logs_are_kept_with_the_run(journal: ReplicaJournal) -> None:
    logs = [AttemptLog("task", 1, "pod", "node", "first\n"), AttemptLog("task", 2, "pod2", "node", "nul \0 and é\n")]
    await submit(journal, begin("a"))
    await submit(journal, step("a", 2, logs=logs[:1]))
    await submit(journal, step("a", 3, logs=logs[1:]))
    found = await journal.attempt_logs("a")
    assert [(log.attempt, log.pod, log.text) for log in found] == [(1, "pod", "first\n"), (2, "pod2", "nul � and é\n")]
    await submit(journal, finish("a", seq=4))
    await journal.retire("Succeeded", STARTED + 5)
    assert await journal.attempt_logs("a") == []


async def test_others_have_their_turn_while_commits_never_end(journal: ReplicaJournal) -> None:
    await submit(journal, begin("busy"))
    seqs, ended = itertools.count(2), asyncio.Event()

    def more(error: BaseException | None = None) -> None:
        assert error is None
        if not ended.is_set():
            journal.submit(step("busy", next(seqs)), more)

    more()
    async with asyncio.timeout(60):
        assert await journal.take_lease("one", 60)
        assert [row.run_id for row in await journal.unfinished()] == ["busy"]
    ended.set()


async def test_a_lease_has_one_holder(journal: ReplicaJournal) -> None:
    assert await journal.take_lease("one", 60) and await journal.take_lease("one", 0.2)
    await journal.drop_lease("one")
    assert await journal.take_lease("one", 60)
    await journal.tidy()
    assert await journal.members() == [journal.owner]


@pytest.mark.postgresql
async def test_a_lease_passes_on_when_it_is_dropped_or_runs_out(postgres_url: str) -> None:
    one = await open_replica(postgres_url, lease=LEASE, name="one")
    two = await open_replica(postgres_url, lease=LEASE, name="two")
    assert await one.members() == await two.members() == sorted([one.owner, two.owner])
    assert await one.take_lease("x", 1.0) and not await two.take_lease("x", 60)
    for _ in range(300):
        if await two.take_lease("x", 60):
            break
        await asyncio.sleep(0.1)
    assert not await one.take_lease("x", 60)
    await two.drop_lease("x")
    assert await one.take_lease("x", 60)
    await two.close()
    assert await one.members() == [one.owner]
    await one.close()


@pytest.mark.postgresql
async def test_an_owner_lives_by_its_lock_and_its_lease(postgres_url: str) -> None:
    one = await open_replica(postgres_url, lease=LEASE, name="one")
    two = await open_replica(postgres_url, lease=LEASE, name="two")
    await submit(one, begin("a"))
    await asyncio.sleep(1.5 * LEASE)
    with pytest.raises(RunOwned):
        await two.claim("a")
    lost = asyncio.Event()
    one.lost = lost.set
    await one._run(lambda: _expire(one.owner), write=True)
    async with asyncio.timeout(30):
        await lost.wait()
    assert [row.run_id for row in await two.awake()] == ["a"]
    old = one.owner
    await one.renew()
    assert one.owner != old and await one.mine() == set()
    assert await two.claim("a") == 3
    assert isinstance((await outcomes(one, step("a", 2)))[0], Exception)
    await submit(one, begin("b"))
    assert await one.mine() == {"b"}
    await one.close()
    await two.close()


def _expire(owner: str) -> Steps[None]:
    yield "UPDATE owners SET expires_at = 0 WHERE owner = :owner", {"owner": owner}


async def test_a_file_takes_one_replica(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'j.db'}"
    one = await open_replica(url)
    with pytest.raises(DatabaseUnavailable, match="another runtime has") as caught:
        await open_replica(url)
    assert caught.value.cause == "locked"
    await one.close()
    await (await open_replica(url)).close()
    with pytest.raises(DatabaseUnavailable):
        await open_replica("sqlite://")
