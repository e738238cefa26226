"""Objects of the API server: read leniently, with numbers and bounds as the loader has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arklex_api.base import API_VERSION
from arklex_api.loader import load_text
from arklex_api.objects import normalised, read_object
from arklex_api.problems import ManifestError
from arklex_api.taskgraph import TaskGraph


def graph(value: Any, **more: Any) -> dict[str, Any]:
    spec = {"tasks": [{"name": "a", "value": value}], **more}
    return {"apiVersion": API_VERSION, "kind": "TaskGraph", "metadata": {"name": "g"}, "spec": spec}


@pytest.mark.parametrize(
    ("parsed", "wanted"),
    [
        ("100000000000000000000", 1e20), ("-9223372036854775809", -9223372036854775809.0), ("9223372036854775807", 2**63 - 1),
        ("1.0", 1), ("1e3", 1000), ("0.5", 0.5), ("1e+21", 1e21), ("true", True), ("null", None), ('"1.0"', "1.0"),
    ],
)  # fmt: skip
def test_numbers_are_those_of_the_loader(parsed: str, wanted: Any) -> None:
    for found in (
        normalised([{"a": json.loads(parsed)}])[0]["a"],
        read_object(TaskGraph, graph(json.loads(parsed))).spec.tasks[0].value,
    ):
        assert (found, type(found)) == (wanted, type(wanted))


def test_fields_of_a_newer_version_are_passed_over_and_the_status_is_not_read() -> None:
    body = {**graph(1, speed="high"), "status": {"phase": "Dreaming"}}
    body["spec"]["tasks"][0]["retry"] = {"limit": 2, "mood": "good"}
    read = read_object(TaskGraph, body)
    assert (read.spec.tasks[0].retry.limit, read.status) == (2, None)


def test_what_is_wrong_is_told_with_its_path() -> None:
    with pytest.raises(ManifestError) as caught:
        read_object(TaskGraph, graph(1, timeout="1d", tasks=[{"name": "A", "value": 1}]))
    assert [(each.path, each.reason) for each in caught.value.problems] == [
        ("spec.tasks[0].name", "Invalid"),
        ("spec.timeout", "Invalid"),
    ]


@pytest.mark.parametrize("depth", [1, 57, 58, 59, 60, 61, 62, 1000, 20_000])
def test_what_nests_too_deep_for_a_file_is_too_deep_here(depth: int) -> None:
    nested: Any = 1
    for _ in range(depth):
        nested = [nested]
    text = json.dumps(graph("HERE")).replace('"HERE"', "[" * depth + "1" + "]" * depth)
    too_deep = [problem.reason for problem in load_text(text).problems]
    assert refused(nested) == too_deep == (["TooDeep"] if depth > 60 else [])


def refused(value: Any) -> list[str]:
    try:
        read_object(TaskGraph, graph(value))
    except ManifestError as error:
        return [problem.reason for problem in error.problems]
    return []
