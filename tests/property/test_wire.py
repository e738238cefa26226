"""Messages between runtimes and pods: they come back as they were written, and neighbouring versions read each other."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arklex_operator.cluster import accounts
from arklex_runtime.dispatch.streams.wire import (
    POD_COMMANDS,
    Attempt,
    BadMessage,
    Cancel,
    Heartbeat,
    JobMessage,
    Keys,
    NewerMessage,
    ResultMessage,
    attempt_of,
    fields_of,
    identity,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
MAPS = st.dictionaries(TEXT, JSON, max_size=3)
ATTEMPTS = st.builds(Attempt, TEXT, TEXT, st.integers(1, 2**31))
JOBS = st.builds(
    JobMessage,
    ATTEMPTS,
    TEXT,
    TEXT,
    JSON,
    st.none() | TEXT,
    st.none() | st.floats(0.001, 1e6),
    TEXT,
    MAPS,
    st.none() | TEXT.filter(bool),
    st.lists(MAPS, max_size=2),
    st.integers(0, 2**31),
    st.none() | TEXT.filter(bool),
)
ERRORS = st.builds(lambda kind, words: {"type": kind, "message": words, "retryable": True, "details": None}, TEXT, TEXT)
FINISHED = st.builds(
    lambda attempt, pod, output, error, size, logs: ResultMessage(
        "finished", attempt, pod, "n", None if error else output, error, size, logs, 0.5
    ),
    ATTEMPTS,
    TEXT,
    JSON,
    st.none() | ERRORS,
    st.integers(0, 2**20),
    TEXT,
)
OTHERS = st.builds(
    lambda kind, attempt, pod, ran: ResultMessage(kind, attempt, pod, "n", ran=ran and kind == "released"),
    st.sampled_from(["started", "released"]),
    ATTEMPTS,
    TEXT,
    st.booleans(),
)
BEATS = st.builds(Heartbeat, st.integers(0, 2**53), st.integers(0, 1000), st.lists(ATTEMPTS, max_size=5), TEXT)
CANCELS = st.builds(Cancel, ATTEMPTS, st.none() | TEXT)
MESSAGES = JOBS | FINISHED | OTHERS | BEATS | CANCELS


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message: Any) -> None:
    assert type(message).decode(message.encode()) == message


@given(MESSAGES, st.dictionaries(TEXT.map(lambda name: "new-" + name), JSON, min_size=1, max_size=3))
def test_fields_of_a_newer_writer_are_passed_over(message: Any, more: dict[str, Any]) -> None:
    data = orjson.dumps({**orjson.loads(message.encode()), **more})
    assert type(message).decode(data) == message


@given(MESSAGES, st.integers(2, 2**31))
def test_another_version_is_refused(message: Any, version: int) -> None:
    data = orjson.dumps({**orjson.loads(message.encode()), "v": version})
    with pytest.raises(NewerMessage, match=str(version)):
        type(message).decode(data)


@given(st.sampled_from([JobMessage, ResultMessage, Heartbeat, Cancel]), st.binary(max_size=50) | JSON.map(orjson.dumps))
def test_what_is_no_message_is_refused(kind: Any, data: bytes) -> None:
    with pytest.raises(BadMessage):
        kind.decode(data)


@given(MESSAGES, st.data())
def test_a_message_with_a_field_missing_or_wrong_is_read_or_refused(message: Any, data: st.DataObject) -> None:
    body = orjson.loads(message.encode())
    name = data.draw(st.sampled_from(sorted(body)))
    if data.draw(st.booleans()):
        del body[name]
    else:
        body[name] = data.draw(JSON)
    try:
        found = type(message).decode(orjson.dumps(body))
    except BadMessage:
        return
    assert type(found) is type(message)


@given(ATTEMPTS)
def test_an_attempt_is_found_by_its_identity(attempt: Attempt) -> None:
    assert attempt_of(identity(attempt)) == attempt


@given(st.binary(max_size=30))
def test_what_is_no_identity_is_refused(data: bytes) -> None:
    try:
        found = attempt_of(data)
    except BadMessage:
        return
    assert found.number >= 1


def test_every_key_of_a_namespace_is_below_its_prefix() -> None:
    keys = Keys("team-a")
    found = [keys.results, keys.jobs("w"), keys.pods("w"), keys.control("w"), keys.limits("g", "t")]
    assert all(key.startswith("arklex:{team-a}:") for key in found)
    assert len(set(found)) == len(found)


def test_fields_come_as_pairs() -> None:
    assert fields_of([b"k", b"1", b"j", b"2"]) == {b"k": b"1", b"j": b"2"}


def test_the_operator_grants_what_pods_need() -> None:
    assert accounts.POD_COMMANDS.split() == POD_COMMANDS.split()


def test_a_pod_may_not_delete_or_read_other_keys() -> None:
    allowed = POD_COMMANDS.split()
    assert not {"del", "flushall", "flushdb", "keys", "scan", "config", "acl", "xgroup|destroy", "script"} & set(allowed)
