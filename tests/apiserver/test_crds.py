"""The CRDs on a real API server: their rules, what users see of them, and that it stores what our loader would read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arklex_api.base import API_VERSION
from arklex_api.crd.columns import KINDS
from arklex_api.loader import Document, load_files, load_text
from arklex_api.objects import normalised
from tests.apiserver.api import Api, manifest
from tests.apiserver.test_bounds import FULL, SCHEMAS, nodes
from tests.controlplane import ControlPlane

pytestmark = pytest.mark.apiserver

ROOT = Path(__file__).parents[2]
PAIRS: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/unit/data/crd_rules.yaml").read_text())
EXAMPLES = sorted((ROOT / "examples").glob("*/*.yaml"))
OURS = {info.kind for info in KINDS}


@pytest.mark.parametrize("pair", [pytest.param(pair, id=f"{pair['kind']}-{pair['rule'][:40]}") for pair in PAIRS])
def test_a_rule_lets_one_manifest_through_and_stops_another(api: Api, namespace: str, pair: dict[str, Any]) -> None:
    kind, rule = pair["kind"], pair["rule"]
    if "old" in pair:
        made = api.create(namespace, manifest(kind, "a", pair["old"]))
        accepted = api.put(namespace, manifest(kind, "a", pair["accept"], resourceVersion=_version(made.body)))
        rejected = api.put(namespace, manifest(kind, "a", pair["reject"], resourceVersion=_version(accepted.body)))
        assert (made.code, accepted.code) == (201, 200), (made, accepted)
    else:
        accepted = api.create(namespace, manifest(kind, "a", pair["accept"]), dry_run=True)
        rejected = api.create(namespace, manifest(kind, pair.get("reject_name", "a"), pair["reject"]), dry_run=True)
        assert accepted.code == 201, accepted
    assert rejected.code == 422
    assert {"oneOf": "must validate one and only one", "allOf": "must"}.get(rule, rule) in rejected.message


def _version(body: dict[str, Any]) -> str:
    return str(body["metadata"]["resourceVersion"])


def documents(text: str) -> list[Document]:
    """Our kinds in a file."""
    manifests = load_text(text)
    assert manifests.problems == []
    return [each for each in manifests.documents if each.kind in OURS]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_stored_as_our_loader_reads_it(api: Api, control_plane: ControlPlane, namespace: str, path: Path) -> None:
    control_plane.kubectl("apply", f"--namespace={namespace}", "--validate=strict", f"--filename={path}")
    found = documents(path.read_text())
    assert found
    for each in found:
        assert same(api.get(namespace, each.kind, each.name)["spec"], each.value["spec"])


def same(stored: Any, read: Any) -> bool:
    """Equal as JSON is: an int is no float and no boolean."""
    return json.dumps(normalised(stored), sort_keys=True) == json.dumps(read, sort_keys=True)


NUMBERS = """
- [1.0, -0.0, 0.0, 1e0, 5e-1, 0.1, 1e3, 1.5e300, 1e20, 1e21, 1e-7, 100000000000000000000.0, 9007199254740993, 1_000, 0x1F, 0o17]
- [017, -9223372036854775808, 9223372036854775807, 9.223372036854775807e18, 4.0e18, 123456789012345678.0, 2.5, -1.0e-10, 0b101]
- {agrees: yes, text: "1.0", date: 2026-01-01, sexagesimal: 1:30, "null": null, "on": on, empty: "", tilde: ~, hex: "0x1F"}
- [.5, 5., +1, +1.5, 1e+2, -1e-2, 1.7976931348623157e308, 5e-324, 18446744073709551615.0, 3.0e0, "é", "\\u00e9", "😀"]
"""


def test_every_scalar_is_read_as_kubectl_and_the_api_server_do(api: Api, control_plane: ControlPlane, namespace: str) -> None:
    text = f"apiVersion: {API_VERSION}\nkind: TaskGraph\nmetadata: {{name: numbers}}\nspec:\n  tasks:\n  - name: a\n    value:"
    text += "".join(f"\n      {line}" for line in NUMBERS.strip().splitlines())
    control_plane.kubectl("apply", "--server-side", f"--namespace={namespace}", "--filename=-", stdin=text)
    (document,) = documents(text)
    stored = api.get(namespace, "TaskGraph", "numbers")["spec"]
    for ours, theirs in zip(document.value["spec"]["tasks"][0]["value"], stored["tasks"][0]["value"], strict=True):
        assert json.dumps(normalised(theirs), sort_keys=True) == json.dumps(ours, sort_keys=True)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé. -", min_size=1, max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON_VALUES)
def test_any_json_is_stored_as_our_loader_reads_it(api: Api, value: Any) -> None:
    spec = {"tasks": [{"name": "a", "value": value}, {"name": "b", "worker": "w", "with": value}], "run": {"input": value}}
    body = manifest("TaskGraph", "any", spec)
    answer = api.create("default", body, dry_run=True)
    assert answer.code == 201, answer
    (document,) = documents(json.dumps(body))
    assert same(answer.body["spec"], document.value["spec"])


def test_a_thousand_tasks_and_a_thousand_and_one(api: Api, namespace: str) -> None:
    tasks = [{"name": f"t{n}", "value": f"${{tasks.t{n - 1}.output}}" if n else 1} for n in range(1001)]
    assert api.create(namespace, manifest("TaskGraph", "large", {"tasks": tasks[:1000]})).code == 201
    assert len(api.get(namespace, "TaskGraph", "large")["spec"]["tasks"]) == 1000
    answer = api.create(namespace, manifest("TaskGraph", "larger", {"tasks": tasks}))
    assert (answer.code, "at most 1000 items" in answer.message) == (422, True), answer.message


def test_a_graph_of_512_kib_is_stored_changed_and_kept_whole(api: Api, control_plane: ControlPlane, namespace: str) -> None:
    tasks = [
        {"name": f"t{n}", "worker": "w", "action": "a", "with": {"text": "x" * 400}, "retry": {"limit": 3}} for n in range(1000)
    ]
    body = manifest("TaskGraph", "large", {"tasks": tasks})
    body["spec"]["output"] = "x" * (512 * 1024 - len(json.dumps(body)))
    apply = ("apply", "--server-side", f"--namespace={namespace}", "--filename=-")
    control_plane.kubectl(*apply, stdin=json.dumps(body))
    body["spec"]["suspend"] = True
    control_plane.kubectl(*apply, stdin=json.dumps(body))
    assert api.get(namespace, "TaskGraph", "large")["spec"] == body["spec"]


def test_unknown_fields_are_refused_to_kubectl_and_pruned_for_others(api: Api, namespace: str) -> None:
    body = manifest("TaskGraph", "a", {"tasks": [{"name": "a", "value": 1, "retires": 3}]})
    answer = api.create(namespace, body)
    assert (answer.code, 'unknown field "spec.tasks[0].retires"' in answer.message) == (400, True)
    assert api.create(namespace, body, strict=False).body["spec"]["tasks"] == [{"name": "a", "value": 1}]


@pytest.mark.parametrize("kind", FULL)
def test_status_and_spec_are_written_apart(api: Api, namespace: str, kind: str) -> None:
    made = api.create(namespace, FULL[kind]).body
    assert ("status" in made, made["metadata"]["generation"]) == (False, 1)
    made["status"], made["spec"] = FULL[kind]["status"], {**made["spec"], "cancel": True}
    written = api.call("PUT", api.path(namespace, kind, "full", "status"), made).body
    assert written["status"] == FULL[kind]["status"]
    assert written["spec"] == FULL[kind]["spec"]
    assert written["metadata"]["generation"] == 1


def test_null_is_a_value_where_any_json_is_and_nothing_elsewhere(api: Api, namespace: str) -> None:
    spec = {"tasks": [{"name": "a", "value": None, "timeout": None}], "output": None}
    stored = api.create(namespace, manifest("TaskGraph", "a", spec)).body["spec"]
    assert stored == {"tasks": [{"name": "a", "value": None}], "output": None}


def test_kubectl_apply_on_the_client_drops_nulls_and_on_the_server_keeps_them(
    api: Api, control_plane: ControlPlane, namespace: str
) -> None:
    """What cluster.md warns of: the command's own doing, before anything reaches the API server."""
    text = json.dumps(manifest("TaskGraph", "a", {"tasks": [{"name": "a", "value": {"kept": 1, "gone": None}}]}))
    for options, value in (([], {"kept": 1}), (["--server-side", "--force-conflicts"], {"kept": 1, "gone": None})):
        control_plane.kubectl("apply", *options, f"--namespace={namespace}", "--filename=-", stdin=text)
        assert api.get(namespace, "TaskGraph", "a")["spec"]["tasks"][0]["value"] == value


def test_two_appliers_own_different_conditions_of_a_status(api: Api, namespace: str) -> None:
    api.create(namespace, manifest("TaskGraph", "a", {"tasks": [{"name": "a", "value": 1}]}))
    for manager, kind in (("arklex-operator", "Accepted"), ("arklex-runtime", "Completed"), ("arklex-operator", "Accepted")):
        condition = {"type": kind, "status": "True", "reason": "Valid", "message": ""}
        body = {
            "apiVersion": API_VERSION,
            "kind": "TaskGraph",
            "metadata": {"name": "a"},
            "status": {"conditions": [condition]},
        }
        path = api.path(namespace, "TaskGraph", "a", "status") + f"?fieldManager={manager}&force=true"
        assert api.call("PATCH", path, body, "application/apply-patch+yaml").code == 200
    conditions = api.get(namespace, "TaskGraph", "a")["status"]["conditions"]
    assert [each["type"] for each in conditions] == ["Accepted", "Completed"]


@pytest.mark.parametrize("kind", FULL)
def test_kubectl_explains_every_field(control_plane: ControlPlane, kind: str) -> None:
    plural = next(info.plural for info in KINDS if info.kind == kind)
    text = control_plane.kubectl("explain", plural, "--recursive")
    known = {line.split()[0] for line in text.splitlines() if "<" in line}
    for part in ("spec", "status"):
        for node in nodes(kind, part, SCHEMAS[kind]["properties"][part], FULL[kind][part], (part,)):
            assert node.field.endswith("[]") or node.field.rpartition(".")[2] in known
    said = control_plane.kubectl("explain", f"{plural}.spec")
    first = next(iter(SCHEMAS[kind]["properties"]["spec"]["properties"].values()))["description"]
    assert " ".join(said.split()).count(" ".join(first.split())) == 1


def test_short_names_and_the_category_work(control_plane: ControlPlane, namespace: str, api: Api) -> None:
    for kind in FULL:
        api.create(namespace, FULL[kind])
    everything = control_plane.kubectl("get", "arklex", f"--namespace={namespace}", "--output=name").split()
    assert sorted(everything) == ["taskgraph.arklex.ai/full", "taskgraphrun.arklex.ai/full", "worker.arklex.ai/full"]
    for short in ("tg", "tgr", "wk"):
        assert control_plane.kubectl("get", short, f"--namespace={namespace}", "--output=name").split()[0] in everything


GOLDEN = """\
NAME                        STATUS    PROGRESS   LAST RUN   DURATION   ACTIVE   AGE   MESSAGE
taskgraph.arklex.ai/full   Running   3/5        full-1     1m2s       1        AGE   m

NAME                           GRAPH   STATUS    PROGRESS   DURATION   AGE   MESSAGE
taskgraphrun.arklex.ai/full   full    Running   3/5        1m2s       AGE   m

NAME                     TYPE   READY   DESIRED   LOAD   QUEUED   AGE
worker.arklex.ai/full   llm    2       2         0.12   0        AGE
"""


def test_what_kubectl_get_shows(control_plane: ControlPlane, namespace: str, api: Api) -> None:
    for kind in FULL:
        made = api.create(namespace, FULL[kind]).body
        made["status"] = FULL[kind]["status"]
        assert api.call("PUT", api.path(namespace, kind, "full", "status"), made).code == 200
    out = control_plane.kubectl("get", "tg,tgr,wk", f"--namespace={namespace}")
    assert table(out) == table(GOLDEN)
    wide = control_plane.kubectl("get", "tg", f"--namespace={namespace}", "--output=wide")
    assert table(wide)[0][-2:] == ["ACCEPTED", "WHY"] and table(wide)[1][-2:] == ["True", "m"]


def table(text: str) -> list[list[str]]:
    """Cells by line; what is as old as the test is AGE."""
    lines = [line.replace("LAST RUN", "LAST-RUN").split() for line in text.splitlines() if line]
    return [["AGE" if cell.endswith("s") and cell[:-1].isdigit() else cell for cell in line] for line in lines]


def test_a_bad_manifest_that_the_api_server_takes_is_judged_by_lint_alone(api: Api, namespace: str) -> None:
    """Each manifest that lint refuses is refused by the API server too, or is for the operator to refuse: none breaks it."""
    codes: dict[str, int] = {}
    for path in sorted((ROOT / "tests/unit/data/bad").glob("*.yaml")):
        manifests = load_files([path])
        for each in manifests.documents:
            if each.kind in OURS and each.name and each.value.get("apiVersion") == API_VERSION:
                codes[path.stem] = max(codes.get(path.stem, 0), api.create(namespace, each.value, dry_run=True).code)
    assert set(codes.values()) <= {201, 400, 422}
    operators = {name for name, code in codes.items() if code == 201}
    assert operators >= {"cycle", "unknown-worker", "unknown-task", "expression", "cron", "time-zone", "graph-cycle"}
    assert {"task-of-two-kinds", "duration-days", "approval-retry", "unknown-field"} <= codes.keys() - operators
