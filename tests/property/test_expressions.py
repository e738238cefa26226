"""Expressions against the CEL library on the whole context, and against any text at all."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import cel
from hypothesis import given, settings
from hypothesis import strategies as st

from arklex_api.expressions import ExpressionError, Reference, TemplateError, compile_expression, compile_template
from arklex_api.expressions.paths import render
from arklex_api.expressions.scanner import Source, split
from arklex_api.problems import Problem

ROOTS = ("input", "item", "tasks")
SCOPE: dict[str, Any] = {
    "input": {"n": 3, "d": 1.5, "s": "text", "b": True, "z": None, "l": [1, 2, 3], "m": {"k": "v", "n": {"x": 1}}, "e": []},
    "item": {"id": 7, "tags": ["a", "b"], "parts": [{"w": 1}, {"w": 2}]},
    "tasks": {"a": {"phase": "Succeeded", "output": {"x": [0, {"y": "z"}]}, "error": None, "errors": []}},
}

names = st.sampled_from(["a", "b", "x", "my-key", "in", "é", "a b", "'", "0"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=12
)

LEAVES = """
    input.n input.d input.s input.b input.z input.l input.m.k input.m.n.x input.nope input.e input.l[5]
    item.id item.tags item.parts item.parts[1].w item['tags'][0] tasks.a.output.x[1].y tasks.a.phase
    1 0 -2 1.5 'text' true false null [1,2] [] v
"""
leaves = st.sampled_from(LEAVES.split())


def _operations(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    ops = st.sampled_from(["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "in", "&&", "||"])
    macros = st.sampled_from(["map", "filter", "all", "exists", "exists_one"])
    return st.one_of(
        st.tuples(inner, ops, inner).map(lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"),
        st.tuples(inner, inner, inner).map(lambda parts: f"(({parts[0]}) ? ({parts[1]}) : ({parts[2]}))"),
        st.tuples(inner, macros, inner).map(lambda parts: f"({parts[0]}).{parts[1]}(v, {parts[2]})"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]}).map(v, {parts[1]}, {parts[2]})"),
        inner.map(lambda text: f"!({text})"),
        inner.map(lambda text: f"-({text})"),
        inner.map(lambda text: f"({text})[0]"),
        inner.map(lambda text: f"[{text}, {text}]"),
        pair.map(lambda parts: f"{{'p': {parts[0]}, 'q': {parts[1]}}}"),
        pair.map(lambda parts: f"({parts[0]})[{parts[1]}]"),
        st.sampled_from(["has(input.m.k)", "has(input.nope)", "has(item.id)", "has(input.n.x)", "has(tasks.a.output.x)"]),
        st.tuples(st.sampled_from(["int", "double"]), inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        pair.map(lambda parts: f"string({parts[0]}).contains({parts[1]})"),
    )


expressions = st.recursive(leaves, _operations, max_leaves=8)


def _string(value: object) -> object:
    """What the library lacks of CEL's string(): bools. It falls back to this where it has nothing."""
    return str(value).lower() if isinstance(value, bool) else object()


def _outcome(text: str, scope: dict[str, Any]) -> tuple[str, Any]:
    """("value", v), ("error", message) from an evaluation, or ("refused", message) from compiling."""
    try:
        template = compile_expression(f"${{{text}}}", path="spec.when", roots=tuple(scope))
    except TemplateError as error:
        return "refused", str(error)
    try:
        return "value", template.evaluate(scope)
    except ExpressionError as error:
        return "error", str(error)


def _same(left: Any, right: Any) -> bool:
    """Equality that tells 1, 1.0 and true apart, and forgives the order of keys."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _library(text: str, scope: dict[str, Any]) -> tuple[str, Any]:
    """The same from the library, which gets the whole scope."""
    try:
        return "value", cel.evaluate(text, cel.Context(scope, {"string": _string}))
    except (TypeError, KeyError, IndexError, ValueError, RuntimeError, ArithmeticError) as error:
        return "error", str(error)


@settings(max_examples=400, deadline=None)
@given(expressions)
def test_pruned_evaluation_equals_the_library_on_the_whole_context(text: str) -> None:
    kind, value = _outcome(text, SCOPE)
    expected_kind, expected = _library(text, SCOPE)
    if expected_kind == "error":
        assert kind != "value", f"the library says {expected}"
    elif kind != "refused":  # a literal mistake in a branch that is not taken is found when it is compiled
        assert kind == "value", f"{value}, but the library gives {expected}"
        assert _same(value, expected)


@settings(max_examples=300, deadline=None)
@given(values, st.lists(names | st.integers(0, 3), max_size=4))
def test_a_path_gives_what_the_library_gives(value: Any, path: list[str | int]) -> None:
    text = render("input", tuple(path))
    kind, found = _outcome(text, {"input": value})
    expected_kind, expected = _library(text, {"input": value})
    assert kind == expected_kind
    assert kind == "error" or _same(found, expected)


def _problems(template: str) -> list[Problem]:
    """What is wrong with the template; if nothing is, it has been evaluated, and no error but ours came out."""
    try:
        compiled = compile_template(template, path="spec.output", roots=ROOTS)
    except TemplateError as error:
        return error.problems
    with contextlib.suppress(ExpressionError):
        compiled.evaluate(SCOPE)
    return []


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(alphabet="${}'\"\\ab.[]()r/\n!-+0123x,:?&|"))
def test_any_text_compiles_or_is_refused_with_its_path(text: str) -> None:
    for template in (text, f"${{{text}}}", f"x ${{{text}}} y"):
        for problem in _problems(template):
            assert problem.path == "spec.output"
            assert problem.message


@settings(max_examples=200, deadline=None)
@given(st.text(), st.lists(st.text(alphabet="abc$ {}'") | st.text(), max_size=3))
def test_literal_text_survives(head: str, tail: list[str]) -> None:
    for text in (head, *tail):
        escaped = text.replace("${", "$${")
        value = compile_template({"a": [escaped]}, path="p", roots=()).evaluate({})
        assert value == {"a": [text]}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.text(alphabet="ab {}'\"").map(lambda text: ("text", text)) | st.text(max_size=8).map(lambda text: ("cel", text))
    )
)
def test_scanner_finds_strings_whatever_is_in_them(parts: list[tuple[str, str]]) -> None:
    written = "".join(text if kind == "text" else "${" + json.dumps(text).replace("\\/", "/") + "}" for kind, text in parts)
    found = split(written)
    assert [piece.text for piece in found if isinstance(piece, Source)] == [
        json.dumps(text) for kind, text in parts if kind == "cel"
    ]
    assert "".join(piece for piece in found if isinstance(piece, str)) == "".join(
        text for kind, text in parts if kind == "text"
    )


@given(st.lists(names | st.integers(0, 9), max_size=5), st.booleans())
def test_references_are_the_paths_that_were_written(path: list[str | int], has: bool) -> None:
    path = [*path, "last"]
    text = render("input", tuple(path))
    template = compile_expression(f"${{has({text})}}" if has else f"${{{text}}}", path="p", roots=("input",))
    assert template.references == {Reference("input", tuple(path), has)}
    assert not template.constant
