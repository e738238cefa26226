"""Which changes of a graph make another version of it."""

from __future__ import annotations

import pytest

from arklex_api.versions import run_name, version_of

SPEC = {"tasks": [{"name": "a", "value": 1}], "run": {"query": "x"}, "history": {"failed": 1}, "suspend": False}


@pytest.mark.parametrize(
    "spec", [{**SPEC, "history": {"failed": 2}}, {**SPEC, "suspend": True}, {**SPEC, "tasks": [{"value": 1.0, "name": "a"}]}]
)
def test_what_does_not_change_a_run_makes_no_version(spec: dict[str, object]) -> None:
    assert version_of(spec, None) == version_of(SPEC, "") == version_of(SPEC, None)


@pytest.mark.parametrize("more", [{"output": 1}, {"run": {"query": "y"}}, {"tasks": []}, {"llm": "w"}, {"finally": []}])
def test_what_changes_a_run_makes_a_version(more: dict[str, object]) -> None:
    assert version_of({**SPEC, **more}, None) != version_of(SPEC, None)


def test_a_token_makes_a_version_of_the_same_graph() -> None:
    assert len({version_of(SPEC, token) for token in (None, "1", "2")}) == 3


def test_the_name_of_a_run_names_graph_object_and_version() -> None:
    assert run_name("g", "0123456789", "abcdefabcdef") == "g-01234567-abcdefab"
