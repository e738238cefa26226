"""Every bound of every field, on a real API server: a value at the bound is taken, one past it refused, at that field.

The cases are made from the CRDs: each node of a schema is looked up in ``data/full.yaml``, which has every field, and changed
there.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from arklex_api.crd import definition
from arklex_api.crd.columns import KINDS
from tests.apiserver.api import Api, Reply

pytestmark = pytest.mark.apiserver

FULL: dict[str, dict[str, Any]] = {
    each["kind"]: each for each in yaml.safe_load_all((Path(__file__).parent / "data/full.yaml").read_text())
}
SCHEMAS: dict[str, dict[str, Any]] = {
    info.kind: definition(info)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for info in KINDS
}
Steps = tuple[str | int, ...]


class Node(NamedTuple):
    """A node of a schema: its field as ``spec.tasks[].name``, and where the full object of its kind has it."""

    kind: str
    field: str
    steps: Steps
    schema: dict[str, Any]


def nodes(kind: str, field: str, schema: dict[str, Any], value: Any, steps: Steps) -> Iterator[Node]:
    yield Node(kind, field, steps, schema)
    for name, below in schema.get("properties", {}).items():
        if name in value:
            yield from nodes(kind, f"{field}.{name}", below, value[name], (*steps, name))
    for key in ("items", "additionalProperties"):
        for step in (range(len(value)) if key == "items" else list(value)) if key in schema else ():
            yield from nodes(kind, field + "[]", schema[key], value[step], (*steps, step))


def fields(schema: dict[str, Any], path: str) -> Iterator[str]:
    yield path
    for name, below in schema.get("properties", {}).items():
        yield from fields(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from fields(schema[key], path + "[]")


PARTS = ("spec", "status")
NODES = [
    node
    for kind, schema in SCHEMAS.items()
    for part in PARTS
    for node in nodes(kind, part, schema["properties"][part], FULL[kind][part], (part,))
]


def changed(node: Node, value: Any) -> dict[str, Any]:
    """The full object with another value at the node."""
    found = copy.deepcopy(FULL[node.kind])
    at: Any = found
    for step in node.steps[:-1]:
        at = at[step]
    at[node.steps[-1]] = value
    return found


class Case(NamedTuple):
    node: Node
    what: str
    value: Any
    good: bool


def cases(node: Node) -> Iterator[Case]:
    value: Any = FULL[node.kind]
    for step in node.steps:
        value = value[step]
    for what, at, past in bounds(node.schema, value):
        if at is not None and (node.field, what) not in CONTRADICTED:
            yield Case(node, what, at, True)
        yield Case(node, what, past, False)


def bounds(schema: dict[str, Any], value: Any) -> Iterator[tuple[str, Any, Any]]:
    kind = schema.get("type")
    if kind in ("integer", "number"):
        yield from _numbers(schema)
    elif kind == "string":
        yield from _strings(schema)
    elif kind == "array":
        if "maxItems" in schema:
            yield "maxItems", None, [value[0]] * (schema["maxItems"] + 1)
        if "minItems" in schema:
            yield "minItems", None, []
        yield "type", None, {"a": 1}
    elif kind == "object":
        if "maxProperties" in schema:
            some = next(iter(value.values()))
            most = schema["maxProperties"]
            yield "maxProperties", {**value, **_more(value, some, most)}, {**value, **_more(value, some, most + 1)}
        yield "type", None, [1]
        for name in schema.get("required", ()):
            yield f"required {name}", None, {key: below for key, below in value.items() if key != name}


def _more(value: dict[str, Any], some: Any, count: int) -> dict[str, Any]:
    return {f"k{index}": some for index in range(count - len(value))}


def _numbers(schema: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    step = 1 if schema["type"] == "integer" else 0.001
    for bound, sign in (("minimum", -1), ("maximum", 1)):
        if bound in schema:
            open_ = schema.get("exclusive" + bound.capitalize(), False)
            yield bound, None if open_ else schema[bound], schema[bound] + (0 if open_ else sign * step)
    yield "type", None, "5"
    if schema["type"] == "integer":
        yield "type", None, 1.5


def _strings(schema: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    if "enum" in schema:
        yield "enum", schema["enum"][-1], "Other"
    if "maxLength" in schema:
        most = schema["maxLength"]
        yield "maxLength", _longest(schema, most), _longest(schema, most + 1) or "a" * (most + 1)
    if schema.get("minLength"):
        yield "minLength", None, ""
    if "pattern" in schema:
        yield "pattern", None, "\n \n"
    if schema.get("format") == "date-time":
        yield "format", None, "yesterday"
    yield "type", None, 5


def _longest(schema: dict[str, Any], length: int) -> str | None:
    """A string of that length that is right but for its length; None where no such string is known."""
    if schema.get("format") == "date-time":
        return None
    pattern, rules = schema.get("pattern", ""), schema.get("x-kubernetes-validations")
    for text in ("a" * length, "https://" + "a" * (length - 8), "0" * (length - 2) + "1s"):
        if re.search(pattern, text) and (not rules or (pattern and text.endswith("1s"))):
            return text
    return None


CONTRADICTED = {("spec.scaling.scaleDownThreshold", "maximum")}
"""Bounds that another rule keeps from being reached."""

CASES = [case for node in NODES for case in cases(node)]


def test_the_full_objects_have_every_field() -> None:
    for kind, schema in SCHEMAS.items():
        wanted = {path for part in PARTS for path in fields(schema["properties"][part], part)}
        assert wanted - {node.field for node in NODES if node.kind == kind} == set()


@pytest.fixture(scope="module")
def place(api: Api) -> str:
    """Return a namespace with the full objects."""
    name = api.namespace()
    for each in FULL.values():
        assert api.create(name, each).code == 201
    return name


@pytest.mark.parametrize("kind", FULL)
@pytest.mark.parametrize("part", PARTS)
def test_every_bound_of_every_field_holds(api: Api, place: str, kind: str, part: str) -> None:
    wrong = []
    chosen = [case for case in CASES if case.node.kind == kind and case.node.steps[0] == part]
    for case in chosen:
        answer = send(api, place, changed(case.node, case.value), part)
        if case.good != (answer.code < 300) or not (case.good or named(case.node, answer.message)):
            wrong.append((case.node.field, case.what, str(case.value)[:80], answer.code, answer.message[:300]))
    assert wrong == []
    assert len([case for case in chosen if case.good]) > 5 and len([case for case in chosen if not case.good]) > 20


def send(api: Api, namespace: str, body: dict[str, Any], part: str) -> Reply:
    if part == "spec":
        body["metadata"] = {"name": "another"}
        return api.create(namespace, body, dry_run=True)
    kind, name = body["kind"], body["metadata"]["name"]
    body["metadata"]["resourceVersion"] = api.get(namespace, kind, name)["metadata"]["resourceVersion"]
    return api.call("PUT", api.path(namespace, kind, name, "status") + "?dryRun=All&fieldValidation=Strict", body)


def named(node: Node, message: str) -> bool:
    """Whether the message names the field, or what holds it."""
    words = [step for step in node.steps if isinstance(step, str)]
    return any(word in message for word in words[-2:])
