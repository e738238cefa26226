"""A replica's settings, its rank among others, and the ids that keys make."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arklex_runtime.gateway.token import Token
from arklex_runtime.service.desk import keyed_id
from arklex_runtime.service.metrics import Metrics
from arklex_runtime.service.rank import rank
from arklex_runtime.service.settings import DAY, SettingsError, read_settings

NAMES = st.lists(st.text("abcdef0123456789-", min_size=1, max_size=12), min_size=1, max_size=8, unique=True)


@given(st.text(max_size=20), NAMES)
def test_every_replica_has_a_place_of_its_own(key: str, members: list[str]) -> None:
    assert sorted(rank(key, me, members) for me in members) == list(range(len(members)))


@given(st.text(max_size=20), NAMES, st.data())
def test_who_goes_changes_the_first_of_its_own_keys_only(key: str, members: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(members))
    left = [member for member in members if member != gone]
    first = next(member for member in members if rank(key, member, members) == 0)
    if left and first != gone:
        assert rank(key, first, left) == 0


def test_keys_are_spread() -> None:
    members = [f"runtime-{index}" for index in range(4)]
    firsts = [sum(rank(f"run-{key}", me, members) == 0 for key in range(1000)) for me in members]
    assert sum(firsts) == 1000 and min(firsts) > 150


def environ(**more: str) -> dict[str, str]:
    base = {"ARKLEX_JOURNAL_URL": "sqlite:///x", "ARKLEX_REDIS_URL": "redis://r:1/0", "ARKLEX_DOOR_TOKEN_FILE": "/t"}
    return base | more


def test_settings_have_the_documented_defaults(tmp_path: Path) -> None:
    settings = read_settings(environ())
    assert (settings.succeeded, settings.failed, settings.lease) == (7 * DAY, 30 * DAY, 10.0)
    assert (settings.namespaces, settings.writes_per_second, settings.door_port, settings.ops_port) == ((), 20, 8080, 9090)
    (tmp_path / "url").write_text("postgresql://u:p@h/d\n")
    (tmp_path / "password").write_text("s3cret\n")
    files = {"ARKLEX_JOURNAL_URL_FILE": str(tmp_path / "url"), "ARKLEX_REDIS_PASSWORD_FILE": str(tmp_path / "password")}
    settings = read_settings(environ(**files, ARKLEX_NAMESPACES="a, b,a", ARKLEX_RETENTION_FAILED="36h"))
    assert (settings.journal, settings.redis.password) == ("postgresql://u:p@h/d", "s3cret")
    assert (settings.namespaces, settings.failed) == (("a", "b"), 1.5 * DAY)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ARKLEX_JOURNAL_URL", ""),
        ("ARKLEX_REDIS_URL", ""),
        ("ARKLEX_REDIS_URL", "http://r"),
        ("ARKLEX_DOOR_TOKEN_FILE", ""),
        ("ARKLEX_JOURNAL_URL_FILE", "/nothing/here"),
        ("ARKLEX_REDIS_PASSWORD_FILE", "/nothing/here"),
        ("ARKLEX_LEASE_SECONDS", "soon"),
        ("ARKLEX_LEASE_SECONDS", "nan"),
        ("ARKLEX_LEASE_SECONDS", "0.1"),
        ("ARKLEX_WRITES_PER_SECOND", "0"),
        ("ARKLEX_RETENTION_SUCCEEDED", "7"),
        ("ARKLEX_RETENTION_FAILED", "0d"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings(environ(**{name: value}))


def test_a_key_makes_one_id_in_one_graph_of_one_namespace() -> None:
    ids = {keyed_id(*parts) for parts in [("a", "g", "k"), ("b", "g", "k"), ("a", "h", "k"), ("a", "g", "l"), ("ag", "", "k")]}
    assert len(ids) == 5
    assert keyed_id("a", "g", "k") == keyed_id("a", "g", "k")
    assert len(keyed_id("a", "g" * 253, "k")) == 57


def test_an_empty_or_missing_token_admits_nobody(tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert not Token(file).admits("Bearer ") and not Token(file).admits(None)
    file.write_text("\n")
    assert not Token(file).admits("Bearer ") and not Token(file).admits("Bearer x")
    file.write_text("right\n")
    token = Token(file)
    assert token.admits("Bearer right") and token.admits("bearer right")
    assert not any(token.admits(said) for said in ("right", "Basic right", "Bearer wrong", "Bearer right2", "Bearer rïght"))


def test_a_replica_tells_of_refused_results_from_the_start() -> None:
    text = Metrics(lambda: 0).text().decode()
    for reason in ("late", "foreign", "unreadable", "newer"):
        assert f'arklex_results_refused_total{{reason="{reason}"}}' in text
