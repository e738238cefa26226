"""The journal's contract, over each database."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from arklex_runtime.errors import Fenced, RunFinished, RunNotFound, RunOwned
from arklex_runtime.state.journal import open_journal
from arklex_runtime.state.records import CachePut
from tests.journals import STARTED, accept, end, outcomes, session, step, submit, texts


async def test_a_run_is_read_back_as_it_was_written(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    await journal.put_bundle("digest", b'{"a":1}')
    await submit(journal, accept("r"))
    await submit(journal, step("r", 2))
    await journal.close()
    journal = await open_journal(journal_url)
    stored = await journal.load("r")
    assert stored is not None
    assert (stored.document, stored.events) == (b'{"a":1}', [b'[["accepted"]]', b'[["step"]]'])
    row = stored.row
    assert (row.phase, row.graph, row.started_at, row.finished_at) == ("Running", "graph", STARTED, None)
    assert await journal.load("other") is None
    await journal.close()


async def test_callbacks_come_after_submit_and_in_order(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    order: list[str] = []

    def note(name: str, error: BaseException | None) -> None:
        order.append(f"{name}:{error}")

    for name in ("a", "b", "c"):
        journal.submit(accept(name), partial(note, name))
        assert order == []
    finished = submit(journal, accept("d"))
    await finished
    assert order == ["a:None", "b:None", "c:None"]
    await journal.close()


async def test_a_callback_that_fails_does_not_hold_up_the_others(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))

    def broken(_: BaseException | None) -> None:
        raise ValueError("broken")

    journal.submit(accept("a"), broken)
    await submit(journal, accept("b"))
    assert [str(context["exception"]) for context in seen] == ["broken"]
    await journal.close()


async def test_what_is_submitted_from_a_callback_is_committed_too(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next_step(seq: int) -> None:
        journal.submit(step("r", seq), lambda _: next_step(seq + 1) if seq < 20 else finished.set_result(None))

    journal.submit(accept("r"), lambda _: next_step(2))
    await finished
    assert len(await texts(journal, "r")) == 20
    await journal.close()


async def test_one_fenced_batch_does_not_fail_its_group(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    await submit(journal, accept("a"))
    await submit(journal, accept("b"))
    await submit(journal, step("a", 2, "first"))
    result = await outcomes(journal, step("b", 2), step("a", 2, "second"), step("a", 3), accept("c"), step("b", 3))
    assert [type(error) for error in result] == [type(None), Fenced, Fenced, type(None), type(None)]
    assert await texts(journal, "a") == [b'[["accepted"]]', b'[["first"]]']
    assert len(await texts(journal, "b")) == 3
    later = await outcomes(journal, step("a", 3))
    assert isinstance(later[0], Fenced), "a run once fenced stays so"
    await journal.close()


async def test_the_same_batch_again_is_no_second_one(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    await submit(journal, accept("a", session_id="s", session_patches=[{"n": {"$increment": 1}}]))
    assert await outcomes(journal, accept("a", session_id="s", session_patches=[{"n": {"$increment": 1}}])) == [None]
    assert await session(journal, "s") == {"n": 1}
    await journal.close()


async def test_a_group_whose_acknowledgement_was_lost_is_accepted_again_though_the_run_ended_with_it(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    await submit(journal, accept("r"))
    group = (step("r", 2), end("r", 3))
    assert await outcomes(journal, *group) == [None, None]
    assert await outcomes(journal, *group) == [None, None]
    assert isinstance((await outcomes(journal, step("r", 2, "other")))[0], Fenced)
    assert len(await texts(journal, "r")) == 3
    await journal.close()


async def test_an_owner_that_lost_its_run_is_fenced_off(journal_url: str) -> None:
    old, new = await open_journal(journal_url), await open_journal(journal_url)
    await submit(old, accept("r"))
    with pytest.raises(RunOwned):
        await new.claim("r")
    await old.release("r")
    assert await new.claim("r") == 3
    result = await outcomes(old, step("r", 2, "late"), step("r", 3, "late"), accept("other"))
    assert [type(error) for error in result] == [Fenced, Fenced, type(None)]
    assert await outcomes(new, step("r", 3, "new")) == [None]
    stored = await texts(new, "r")
    assert stored[1].startswith(b'[["claimed","' + new.owner.encode())
    assert stored[2] == b'[["new"]]'
    assert await new.owned() == {"r"}
    assert await old.owned() == {"other"}
    await old.close()
    await new.close()


async def test_a_claim_comes_after_all_that_was_acknowledged(journal_url: str) -> None:
    """And what its old owner submits next has the claim's own seq: on SQLite nothing else fences it off."""
    old, new = await open_journal(journal_url), await open_journal(journal_url)
    await submit(old, accept("r"))
    pending = [submit(old, step("r", seq)) for seq in (2, 3)]
    await asyncio.gather(*pending)
    await old.release("r")
    assert await new.claim("r") == 5
    assert isinstance((await outcomes(old, step("r", 4)))[0], Fenced)
    assert len(await texts(new, "r")) == 4
    await old.close()
    await new.close()


async def test_claiming_a_run_again_lets_it_go_on(journal_url: str) -> None:
    first, second = await open_journal(journal_url), await open_journal(journal_url)
    await submit(first, accept("r"))
    await first.release("r")
    await second.claim("r")
    assert isinstance((await outcomes(first, step("r", 2)))[0], Fenced)
    await second.close()
    seq = await first.claim("r")
    assert await outcomes(first, step("r", seq)) == [None]
    await first.close()


async def test_of_two_that_claim_at_once_one_gets_it(journal_url: str) -> None:
    dead = await open_journal(journal_url)
    await submit(dead, accept("r"))
    await dead.close()
    journals = [await open_journal(journal_url) for _ in range(4)]
    results = await asyncio.gather(*[journal.claim("r") for journal in journals], return_exceptions=True)
    assert sorted(str(type(result).__name__) for result in results) == ["RunOwned", "RunOwned", "RunOwned", "int"]
    assert len(await texts(journals[0], "r")) == 2
    for journal in journals:
        await journal.close()


async def test_a_finished_run_is_claimed_only_to_reopen_it(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    await submit(journal, accept("r"))
    await submit(journal, end("r", 2))
    row = (await journal.list_runs())[0]
    assert (row.phase, row.finished_at, row.owner) == ("Succeeded", STARTED + 1, None)
    with pytest.raises(RunFinished):
        await journal.claim("r")
    with pytest.raises(RunNotFound):
        await journal.claim("other")
    assert await journal.claim("r", reopen=True) == 4
    row = (await journal.list_runs())[0]
    assert (row.phase, row.finished_at, row.owner) == ("Running", None, journal.owner)
    await journal.close()


async def test_orphans_are_the_unfinished_runs_of_dead_owners(journal_url: str) -> None:
    dead, live = await open_journal(journal_url), await open_journal(journal_url)
    for run_id in ("a", "b"):
        await submit(dead, accept(run_id))
    await submit(dead, end("b", 2))
    await submit(live, accept("c"))
    assert await live.orphans() == []
    await dead.close()
    assert [row.run_id for row in await live.orphans()] == ["a"]
    await live.close()


async def test_the_list_is_newest_first_and_filtered(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    for index in range(5):
        await submit(journal, accept(f"r{index}", started_at=STARTED + index))
    await submit(journal, end("r3", 2))
    assert [row.run_id for row in await journal.list_runs(limit=2)] == ["r4", "r3"]
    assert [row.run_id for row in await journal.list_runs(phase="Succeeded")] == ["r3"]
    assert await journal.list_runs(graph="other") == []
    assert len(await journal.list_runs(graph="graph", namespace="default")) == 5
    await journal.close()


async def test_sessions_are_merged_with_the_result(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    assert await session(journal, "s") == {}
    await submit(journal, accept("r", session_id="s", session_patches=[{"a": 1, "b": {"x": 1}}, {"n": {"$increment": 2}}]))
    await submit(journal, step("r", 2, session_id="s", session_patches=[{"a": None, "b": {"y": 0}, "n": {"$increment": 0.5}}]))
    assert await session(journal, "s") == {"b": {"y": 0}, "n": 2.5}
    assert await journal.update_session("s", {"n": None, "z": ""}) == {"b": {"y": 0}, "z": ""}
    assert await journal.get_session("s") == {"b": {"y": 0}, "z": ""}
    await journal.close()


async def test_a_session_is_read_as_of_what_was_submitted_before(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    futures = [submit(journal, accept(f"r{i}", session_id="s", session_patches=[{"n": {"$increment": 1}}])) for i in range(9)]
    assert await session(journal, "s") == {"n": 9}
    assert all(future.done() for future in futures)
    await journal.close()


async def test_a_fenced_batch_leaves_the_session_alone(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    await submit(journal, accept("r"))
    await submit(journal, step("r", 2))
    patches = [{"n": {"$increment": 1}}]
    result = await outcomes(
        journal,
        step("r", 2, "late", session_id="s", session_patches=patches),
        accept("q", session_id="s", session_patches=patches),
    )
    assert [type(error) for error in result] == [Fenced, type(None)]
    assert await session(journal, "s") == {"n": 1}
    await journal.close()


async def test_the_first_signal_with_a_key_wins(journal_url: str) -> None:
    owner, other = await open_journal(journal_url), await open_journal(journal_url)
    await submit(owner, accept("r"))
    owner.changed()
    assert await other.add_signal("r", "approve", {"approved": True}, "task")
    assert not await other.add_signal("r", "approve", {"approved": False}, "task")
    assert await other.add_signal("r", "cancel", None)
    assert await other.add_signal("r", "cancel", None)
    assert owner.changed()
    found = await owner.signals()
    assert [(signal.kind, signal.data) for signal in found] == [
        ("approve", {"approved": True}),
        ("cancel", None),
        ("cancel", None),
    ]
    assert await other.signals() == []
    assert await other.signals("r") == found
    await submit(owner, step("r", 2, signals=[signal.id for signal in found]))
    assert await owner.signals() == []
    first = await other.get_signal("r", "task")
    assert first is not None
    assert first.data == {"approved": True}
    assert not await other.add_signal("r", "approve", {"approved": False}, "task")
    await submit(owner, end("r", 3))
    assert not await other.add_signal("r", "approve", {"approved": False}, "task"), "a repeat is no error, however late"
    with pytest.raises(RunFinished):
        await other.add_signal("r", "approve", {"approved": False}, "another")
    with pytest.raises(RunNotFound):
        await other.add_signal("unknown", "cancel", None)
    await owner.close()
    await other.close()


async def test_cached_results_come_with_the_commit_and_expire(journal_url: str) -> None:
    journal = await open_journal(journal_url)
    await submit(journal, accept("r", cache=[CachePut("k", b"0", 100.0), CachePut("k", b"1", 200.0)]))
    assert await journal.cache_get("k", 199.0) == b"1"
    assert await journal.cache_entry("k", 199.0) == (b"1", 200.0)
    assert await journal.cache_get("k", 200.0) is None
    await journal.close()


async def test_delete_removes_all_of_a_run_but_not_one_that_runs(journal_url: str) -> None:
    journal, other = await open_journal(journal_url), await open_journal(journal_url)
    await submit(journal, accept("r"))
    await outcomes(journal, *[step("r", seq) for seq in range(2, 1203)])
    with pytest.raises(RunOwned):
        await other.delete_run("r")
    await submit(journal, end("r", 1203))
    await other.delete_run("r")
    assert await other.load("r") is None
    assert await other.list_runs() == []
    with pytest.raises(RunNotFound):
        await other.delete_run("r")
    await submit(journal, accept("q"))
    await journal.close()
    await other.delete_run("q")
    assert await other.list_runs() == []
    await other.close()


async def test_prune_removes_what_is_old_and_unused(journal_url: str) -> None:
    clock = [STARTED]
    journal = await open_journal(journal_url, now=lambda: clock[0])
    await journal.put_bundle("digest", b"{}")
    await journal.put_bundle("unused", b"{}")
    for index in range(4):
        await submit(journal, accept(f"r{index}", cache=[CachePut(f"k{index}", b"v", STARTED + 5000 * index)]))
    for index in range(3):
        await submit(journal, end(f"r{index}", 2, STARTED + index))
    clock[0] = STARTED + 7200
    assert await journal.prune(STARTED + 2) == 2
    assert {row.run_id for row in await journal.list_runs()} == {"r2", "r3"}
    assert [await journal.cache_get(f"k{index}", 0.0) for index in range(4)] == [None, None, b"v", b"v"]
    stored = await journal.load("r2")
    assert stored is not None
    assert stored.document == b"{}"
    await journal.put_bundle("fresh", b"[]")
    assert await journal.prune(STARTED) == 0
    await submit(journal, accept("new", started_at=clock[0]))
    await journal.close()


async def test_many_runs_at_once_lose_nothing(journal_url: str) -> None:
    journal = await open_journal(journal_url)

    async def one(run_id: str) -> None:
        await submit(journal, accept(run_id))
        for seq in range(2, 12):
            await submit(journal, step(run_id, seq, f"{run_id}-{seq}"))
        await submit(journal, end(run_id, 12))

    await asyncio.gather(*[one(f"r{index}") for index in range(40)])
    for index in range(40):
        events = await texts(journal, f"r{index}")
        assert events[1:-1] == [f'[["r{index}-{seq}"]]'.encode() for seq in range(2, 12)]
    assert len(await journal.list_runs(phase="Succeeded", limit=100)) == 40
    await journal.close()
