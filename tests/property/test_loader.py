"""Whatever the bytes, loading and linting end, raise nothing, and every problem has a file and a line that exists."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from arklex_api.lint import lint
from arklex_api.loader import load_text
from arklex_api.paths import parse, render
from arklex_api.scalars import ScalarError, resolve
from arklex_api.yamlread import read_yaml

settings.register_profile("loader", deadline=None, max_examples=300)
QUIET = settings.get_profile("loader")

CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"])
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | FINITE | st.text(CHARACTERS)
FIELDS = st.sampled_from([
    "name", "worker", "action", "tool", "graph", "approval", "value", "with", "dependsOn", "when", "forEach", "retry",
    "timeout", "fallback", "cache", "onError", "saveState", "tasks", "finally", "output", "run", "schedule", "tools", "input",
    "schema", "items", "as", "limit", "errors", "http", "url", "cron", "type", "config", "scaling", "llm", "spec", "metadata",
    "kind",
])  # fmt: skip
WORDS = st.sampled_from([
    "a", "b", "w", "${tasks.a.output}", "${input.x +}", "1d", "5s", "fail", "rag", "custom", "* * * * *", "", "${",
])  # fmt: skip
FRAGMENTS = st.sampled_from([
    "a", ": ", "\n", "- ", "  ", "&x ", "*x", "<<: ", "{", "}", "[", "]", ", ", "'", '"', "|\n", "---\n", "!!int ", "!t ", "1",
    "on", "~", "? ", "#", "\t", "%", "spec", "kind: ", "apiVersion: ", "arklex.ai/v1alpha1\n", "TaskGraph\n", "\\u", "\x85",
])  # fmt: skip


def trees(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda below: st.lists(below, max_size=5) | st.dictionaries(keys, below, max_size=5), max_leaves=30
    )


VALUES = trees(SCALARS, st.text(CHARACTERS, max_size=20))
MANIFEST_VALUES = trees(SCALARS | WORDS, FIELDS)


def check(data: bytes | str) -> None:
    manifests = load_text(data, "f.yaml")
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    last = len(raw.decode("utf-8", "replace").splitlines()) + 1
    for problem in lint(manifests):
        assert problem.file == "f.yaml"
        assert problem.line is not None and 1 <= problem.line <= last
        assert problem.reason and problem.message


@QUIET
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    check(data)


@QUIET
@given(st.text(max_size=300))
def test_any_text(data: str) -> None:
    check(data)


@QUIET
@given(st.lists(FRAGMENTS, max_size=40))
def test_anything_that_looks_like_yaml(parts: list[str]) -> None:
    check("".join(parts))


@QUIET
@given(st.sampled_from(["TaskGraph", "Worker", "TaskGraphRun", "List", "Secret"]), MANIFEST_VALUES, MANIFEST_VALUES)
def test_any_object_of_our_kinds(kind: str, spec: Any, metadata: Any) -> None:
    version = "v1" if kind in ("List", "Secret") else "arklex.ai/v1alpha1"
    check(json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "items": spec, "data": spec}))


@QUIET
@given(st.lists(st.dictionaries(FIELDS, MANIFEST_VALUES, max_size=4), max_size=4))
def test_any_tasks(tasks: list[dict[str, Any]]) -> None:
    named = [{"name": f"t{index}", "value": 1, **task} for index, task in enumerate(tasks)]
    graph = {"apiVersion": "arklex.ai/v1alpha1", "kind": "TaskGraph", "metadata": {"name": "g"}, "spec": {"tasks": named}}
    check(yaml.safe_dump(graph, allow_unicode=True))


@QUIET
@given(VALUES)
def test_json_is_read_as_the_api_server_stores_it(value: Any) -> None:
    sources, problems = read_yaml(json.dumps({"value": value}).encode(), "f.json")
    assert problems == []
    assert json.dumps(sources[0].value) == json.dumps({"value": stored(value)})


def stored(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**63:
        return from_shortest(value)
    if isinstance(value, list):
        return [stored(item) for item in value]
    return {key: stored(item) for key, item in value.items()} if isinstance(value, dict) else value


def from_shortest(value: float) -> int:
    """As Go prints it: the shortest digits that give the same double, padded with zeros."""
    digits, _, exponent = repr(value).partition("e")
    whole, _, fraction = digits.partition(".")
    return int(whole + fraction.rstrip("0").ljust(int(exponent or 0), "0"))


@QUIET
@given(st.text(st.sampled_from("0123456789+-._eExXoObBaAfFnNyYtTrRuUlLiI~"), max_size=12))
def test_a_scalar_is_finite_and_within_int64_or_refused(text: str) -> None:
    try:
        value = resolve(text)
    except ScalarError:
        return
    if isinstance(value, int):
        assert -(2**63) <= value < 2**63
    if isinstance(value, float):
        assert abs(value) < float("inf")
        assert not value.is_integer() or abs(value) >= 2**63


@QUIET
@given(st.lists(st.integers(0, 10**8) | st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]), min_size=1)))
def test_paths_come_back(steps: list[str | int]) -> None:
    text_of_numbers = [step for step in steps if isinstance(step, str) and step.isascii() and step.isdigit()]
    if not text_of_numbers:
        assert list(parse(render(steps))) == steps
