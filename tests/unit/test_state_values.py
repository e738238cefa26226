"""The pure parts of state: merging sessions, the bounded memory, URLs, owners' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arklex_runtime.engine.session import INT64_MAX, SessionError, merge
from arklex_runtime.errors import ValidationError
from arklex_runtime.state.lru import Entry, Lru
from arklex_runtime.state.sqlite_file import SqliteUrl
from arklex_runtime.state.steps import pid_of


@pytest.mark.parametrize(
    ("data", "patch", "merged"),
    [
        ({"a": 1}, {"b": 0}, {"a": 1, "b": 0}),
        ({"a": 1, "b": 2}, {"a": None, "c": None}, {"b": 2}),
        ({"a": {"x": 1}}, {"a": {"y": 1}}, {"a": {"y": 1}}),
        ({}, {"n": {"$increment": 2}}, {"n": 2}),
        ({"n": 1}, {"n": {"$increment": 0.5}}, {"n": 1.5}),
        ({"n": "text"}, {"n": {"$increment": -1}}, {"n": -1}),
        ({"n": True}, {"n": {"$increment": 1}}, {"n": 1}),
        ({"n": INT64_MAX}, {"n": {"$increment": 1}}, {"n": INT64_MAX}),
        ({"n": 1e308}, {"n": {"$increment": 1e308}}, {"n": 1e308}),
        ({"n": 1}, {"n": {"$increment": 1, "other": 2}}, {"n": {"$increment": 1, "other": 2}}),
    ],
)
def test_merge(data: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]) -> None:
    before = dict(data)
    assert merge(data, patch, forgiving=True) == merged
    assert data == before


def test_lru_keeps_the_recently_used_within_its_weight() -> None:
    lru: Lru[bytes] = Lru(10, lambda key, value: len(value))
    lru.put("a", Entry(b"aaaa"))
    lru.put("b", Entry(b"bbbb"))
    assert lru.get("a", 0) == Entry(b"aaaa")
    lru.put("c", Entry(b"cccc"))
    assert [lru.get(key, 0) is not None for key in "abc"] == [True, False, True]
    lru.put("a", Entry(b"aa"))
    assert lru.weight == 6
    lru.put("huge", Entry(b"h" * 11))
    assert (lru.get("huge", 0), len(lru), lru.weight) == (None, 2, 6)
    lru.clear()
    assert (len(lru), lru.weight) == (0, 0)


def test_lru_forgets_what_has_expired() -> None:
    lru: Lru[int] = Lru(10, lambda key, value: 1)
    lru.put("a", Entry(0, 5.0))
    assert lru.get("a", 4.9) == Entry(0, 5.0)
    assert lru.get("a", 5.0) is None
    assert lru.weight == 0


@pytest.mark.parametrize(
    ("url", "path", "full"),
    [
        ("a/b.db", "a/b.db", False),
        ("sqlite:///a/b.db", "a/b.db", False),
        ("sqlite:////a/b%20c.db?synchronous=full", "/a/b c.db", True),
        ("sqlite+aiosqlite:///a.db?synchronous=NORMAL", "a.db", False),
        ("b.db?synchronous=FULL", "b.db", True),
        ("sqlite://", None, False),
        (":memory:", None, False),
    ],
)
def test_sqlite_urls(url: str, path: str | None, full: bool) -> None:
    assert SqliteUrl.parse(url) == SqliteUrl(Path(path) if path else None, full)


def test_a_wrong_durability_is_refused() -> None:
    with pytest.raises(ValidationError, match="NORMAL or FULL"):
        SqliteUrl.parse("a.db?synchronous=OFF")


@pytest.mark.parametrize(("owner", "pid"), [("12-ab", 12), ("12-ab@host", None), ("x", None)])
def test_the_pid_of_an_owner(owner: str, pid: int | None) -> None:
    assert pid_of(owner) == pid


@pytest.mark.parametrize(
    ("old", "by", "words"),
    [
        ("x", 1, "needs numbers"),
        (1, "x", "needs numbers"),
        (True, 1, "needs numbers"),
        (INT64_MAX, 1, "64 bits"),
        (1e308, 1e308, "finite"),
    ],
)
def test_a_run_is_told_of_an_increment_that_cannot_be(old: Any, by: Any, words: str) -> None:
    with pytest.raises(SessionError, match=words):
        merge({"n": old}, {"n": {"$increment": by}})
