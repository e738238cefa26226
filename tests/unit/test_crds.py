"""The generated CRDs: committed as generated, structural, described, bounded; each rule has a pair that the models agree on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from arklex_api.base import API_VERSION
from arklex_api.crd import generate
from arklex_api.crd.__main__ import main
from arklex_api.crd.columns import KINDS
from arklex_api.crd.convert import convert
from arklex_api.yamlread import read_yaml

ROOT = Path(__file__).parents[2]
FILES = generate()
MODELS = {info.kind: info.model for info in KINDS}
PAIRS: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/unit/data/crd_rules.yaml").read_text())
ALLOWED = {
    "type", "description", "format", "properties", "required", "items", "additionalProperties", "nullable", "enum", "pattern",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
    "minProperties", "maxProperties", "oneOf", "allOf", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip


def crd(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(FILES[name])
    return document


def schema_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = crd(name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")
    for key, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from nodes(schema[key], path + suffix)


ALL = [pytest.param(node, id=name.split(".")[0] + path) for name in FILES for path, node in nodes(schema_of(name))]


def test_the_committed_files_are_what_the_models_generate() -> None:
    for folder in (ROOT / "crds", ROOT / "helm/arklex/files/crds"):
        assert {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")} == FILES


def test_the_command_writes_them(tmp_path: Path) -> None:
    main([str(tmp_path)])
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize("name", FILES)
def test_kubectl_reads_them_as_python_does(name: str) -> None:
    sources, problems = read_yaml(FILES[name].encode(), name)
    assert problems == []
    assert [source.value for source in sources] == [crd(name)]


@pytest.mark.parametrize("node", ALL)
def test_the_schema_is_structural(node: dict[str, Any]) -> None:
    assert node.keys() <= ALLOWED
    assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields") is True
    assert not ("properties" in node and "additionalProperties" in node)
    for branch in (*node.get("oneOf", ()), *node.get("allOf", ())):
        assert keywords(branch) <= {"required", "anyOf", "not"}


def keywords(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*(keywords(item) for item in node))
    if not isinstance(node, dict):
        return set()
    return set(node).union(*(keywords(value) for value in node.values()))


@pytest.mark.parametrize("node", ALL)
def test_every_list_map_and_string_is_bounded(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if kind == "string":
        assert "maxLength" in node or "enum" in node
    elif kind == "array":
        assert "maxItems" in node and "x-kubernetes-list-type" in node
    elif kind == "object" and ("additionalProperties" in node or node.get("x-kubernetes-preserve-unknown-fields")):
        assert "maxProperties" in node


@pytest.mark.parametrize("name", FILES)
def test_every_field_says_what_it_means(name: str) -> None:
    silent = [path for path, node in nodes(schema_of(name)) if "description" not in node and path[-2:] not in ("[]", "{}")]
    assert silent == [".metadata"]


def test_no_field_is_defaulted_so_that_digests_hold() -> None:
    assert [path for name in FILES for path, node in nodes(schema_of(name)) if "default" in node] == []


def test_default_and_unit_are_in_the_description() -> None:
    scaling = schema_of("workers.arklex.ai.yaml")["properties"]["spec"]["properties"]["scaling"]["properties"]
    assert scaling["cooldownSeconds"]["description"] == "Seconds between two changes of the number of pods. Default: 300."


def test_conditions_are_a_map_by_type_and_tasks_are_atomic() -> None:
    properties = schema_of("taskgraphs.arklex.ai.yaml")["properties"]
    conditions, tasks = properties["status"]["properties"]["conditions"], properties["spec"]["properties"]["tasks"]
    assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])
    assert (tasks["x-kubernetes-list-type"], tasks["maxItems"]) == ("atomic", 1000)


def test_a_value_may_be_null_and_is_kept_as_it_is() -> None:
    tasks = schema_of("taskgraphs.arklex.ai.yaml")["properties"]["spec"]["properties"]["tasks"]
    value = tasks["items"]["properties"]["value"]
    assert (value["nullable"], value["x-kubernetes-preserve-unknown-fields"]) == (True, True)
    assert "type" not in value


def test_names_and_columns() -> None:
    names = [crd(name)["spec"]["names"] for name in FILES]
    assert [(n["kind"], n["shortNames"], n["categories"]) for n in names] == [
        ("Worker", ["wk"], ["arklex"]),
        ("TaskGraph", ["tg"], ["arklex"]),
        ("TaskGraphRun", ["tgr"], ["arklex"]),
    ]
    columns = crd("taskgraphs.arklex.ai.yaml")["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if not column.get("priority")]
    assert shown == ["Status", "Progress", "Last Run", "Duration", "Active", "Age", "Message"]


@pytest.mark.parametrize("name", FILES)
def test_columns_point_at_fields_that_exist(name: str) -> None:
    paths = {path for path, _ in nodes(schema_of(name))} | {".metadata.creationTimestamp"}
    for column in crd(name)["spec"]["versions"][0]["additionalPrinterColumns"]:
        assert column["jsonPath"].split("[")[0] in paths


def test_a_status_at_all_its_bounds_stays_under_64_kib() -> None:
    for name in FILES:
        assert largest(schema_of(name)["properties"]["status"]) < 64 * 1024


def largest(node: dict[str, Any]) -> int:
    """Bytes of the largest JSON of a schema, in ASCII."""
    kind = node["type"]
    if kind == "object":
        return 2 + sum(len(key) + 4 + largest(below) for key, below in node["properties"].items())
    if kind == "array":
        return 2 + int(node["maxItems"]) * (1 + largest(node["items"]))
    if kind == "string":
        return 2 + int(node.get("maxLength") or max(map(len, node["enum"])))
    return 20


def test_a_union_is_refused_rather_than_guessed() -> None:
    with pytest.raises(ValueError, match="a union is not structural"):
        convert({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {}, "X")


def test_every_rule_has_a_pair() -> None:
    wanted = set()
    for info in KINDS:
        for _, node in nodes(schema_of(f"{info.plural}.arklex.ai.yaml")):
            wanted |= {(info.kind, rule["message"]) for rule in node.get("x-kubernetes-validations", ())}
            wanted |= {(info.kind, keyword) for keyword in ("oneOf", "allOf") if keyword in node}
    shared = {"must be a positive Go duration such as 500ms or 1h30m"}
    given = {(pair["kind"], pair["rule"]) for pair in PAIRS}
    assert {pair for pair in wanted - given if pair[1] not in shared} == set()
    assert given <= wanted


@pytest.mark.parametrize("pair", [pytest.param(pair, id=f"{pair['kind']}-{pair['rule']}") for pair in PAIRS])
def test_the_models_agree_with_the_rules(pair: dict[str, Any]) -> None:
    accept(pair["kind"], pair["accept"], "a")
    if "old" in pair:
        accept(pair["kind"], pair["old"], "a")
        return
    with pytest.raises(ValidationError):
        accept(pair["kind"], pair["reject"], pair.get("reject_name", "a"))


def accept(kind: str, spec: dict[str, Any], name: str) -> None:
    MODELS[kind].model_validate({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})
