"""Entries that are added together: what Redis is asked, and what its answers say of each."""

from __future__ import annotations

from typing import Any

import pytest

from arklex_runtime.dispatch.streams.link import TOGETHER, Command, ReplyError, replies_of, together


def answers(commands: list[Command], refused: frozenset[int] = frozenset(), abort: bool = False) -> list[Any]:
    """What Redis answers: ids by number, errors for those it refuses when they are queued, or for a whole EXEC."""
    found: list[Any] = []
    queued: list[int] | None = None
    number, broken = 0, False
    for command in commands:
        if command[0] == "MULTI":
            queued, broken = [], False
            found.append("OK")
        elif command[0] == "EXEC":
            found.append(ReplyError("EXECABORT") if broken or abort else queued)
            queued = None
        else:
            broken = broken or number in refused
            if queued is None or number in refused:
                found.append(ReplyError("OOM") if number in refused else number)
            else:
                found.append("QUEUED")
            if queued is not None:
                queued.append(number)
            number += 1
    return found


def additions(count: int) -> list[Command]:
    return [("XADD", "stream", "*", "n", number) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, TOGETHER - 1, TOGETHER, TOGETHER + 1, 2 * TOGETHER + 50])
def test_each_entry_gets_its_own_answer(count: int) -> None:
    asked = together(additions(count))
    assert [command for command in asked if command[0] == "XADD"] == additions(count)
    assert replies_of(count, answers(asked)) == list(range(count))


def test_one_entry_needs_no_transaction_and_no_transaction_is_long() -> None:
    assert together(additions(1)) == additions(1)
    sizes = "".join(str(command[0])[0] for command in together(additions(2 * TOGETHER + 1))).split("M")
    assert [part.count("X") for part in sizes] == [0, TOGETHER, TOGETHER + 1]


def test_who_is_refused_says_why_and_takes_its_own_transaction_along() -> None:
    count = TOGETHER + 2
    found = replies_of(count, answers(together(additions(count)), refused=frozenset({3})))
    assert [str(reply) for reply in found[:5]] == ["EXECABORT"] * 3 + ["OOM", "EXECABORT"]
    assert found[TOGETHER:] == [TOGETHER, TOGETHER + 1]


def test_a_transaction_that_is_refused_as_a_whole_is_an_error_for_each() -> None:
    found = replies_of(2, answers(together(additions(2)), abort=True))
    assert [type(reply) for reply in found] == [ReplyError, ReplyError]
