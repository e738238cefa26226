"""The overlay of a pod template: merged as kubectl would, refused where it reaches too far, and never a crash."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arklex_api.objects import read_object
from arklex_api.worker import Worker
from arklex_operator.manifests.kinds import kind_of
from arklex_operator.manifests.merge import MERGE_KEYS, merge
from arklex_operator.manifests.template import CONTAINER_FIELDS, POD_FIELDS, SECURITY_FIELDS, VOLUME_SOURCES, forbidden
from arklex_operator.reconcile.compare import holds
from arklex_operator.reconcile.worker import Facts, desired, judge, plan
from tests.unit.operator.examples import EXTERNAL, SETTINGS, raw

NAMES = st.sampled_from(["worker", "handler", "a", "b", "tmp", "connection", "secret-1", "ALL"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 70000), NAMES, st.sampled_from(["/var/run/arklex/x", "arklex-connection", ""])
)
WORDS = st.sampled_from(
    sorted(
        {*MERGE_KEYS, *MERGE_KEYS.values(), *POD_FIELDS, *CONTAINER_FIELDS, *SECURITY_FIELDS, *VOLUME_SOURCES}
        | {"metadata", "spec", "labels", "hostNetwork", "privileged", "hostPath", "add", "drop", "secretName", "$patch"}
    )
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)
MAPS = st.dictionaries(WORDS, ANYTHING, max_size=4)

CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["worker", "side", "other"])},
        optional={
            "image": st.sampled_from(["x:1", "y:2"]),
            "env": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["A", "B", "C"]), "value": NAMES}), max_size=3),
            "volumeMounts": st.lists(
                st.fixed_dictionaries({"name": st.just("data"), "mountPath": st.sampled_from(["/data", "/more"])}), max_size=2
            ),
            "securityContext": st.dictionaries(st.sampled_from(sorted(SECURITY_FIELDS)), LEAVES, max_size=2),
            "resources": st.fixed_dictionaries(
                {"limits": st.fixed_dictionaries({"cpu": st.sampled_from(["50m", "0.1", "2"])})}
            ),
        },
    ),
    max_size=3,
    unique_by=lambda each: str(each["name"]),
)
TEMPLATES = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries({"labels": st.dictionaries(st.sampled_from(["team", "x/y"]), NAMES, max_size=2)}),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": CONTAINERS,
                "nodeSelector": st.dictionaries(NAMES, NAMES, max_size=2),
                "volumes": st.just([{"name": "data", "emptyDir": {}}]),
                "securityContext": st.dictionaries(st.sampled_from(sorted(SECURITY_FIELDS)), LEAVES, max_size=2),
            },
        ),
    },
)


@given(MAPS)
def test_no_template_makes_the_check_fail(template: dict[str, Any]) -> None:
    for found in forbidden(template):
        assert found.path.startswith("spec.template") and found.fix


@given(MAPS, MAPS)
def test_a_merge_changes_neither_and_repeats_nothing(base: dict[str, Any], overlay: dict[str, Any]) -> None:
    before = copy.deepcopy((base, overlay))
    once = merge(base, overlay)
    assert (base, overlay) == before
    assert merge(base, {}) == base
    assert _scalars(merge(once, overlay)) == _scalars(once)


@given(MAPS, st.dictionaries(WORDS, LEAVES, max_size=3))
def test_plain_fields_are_the_overlays(base: dict[str, Any], overlay: dict[str, Any]) -> None:
    merged = merge(base, overlay)
    for key, value in overlay.items():
        assert (key not in merged) if value is None else merged[key] == value
    assert all(merged[key] == base[key] for key in base if key not in overlay)


@given(CONTAINERS, CONTAINERS)
def test_lists_are_merged_by_name(base: list[Any], overlay: list[Any]) -> None:
    merged = merge({"containers": base}, {"containers": overlay})["containers"]
    names = [each["name"] for each in merged]
    assert len(names) == len(set(names))
    assert names[: len(base)] == [each["name"] for each in base]
    assert set(names) == {each["name"] for each in (*base, *overlay)}
    said = {each["name"]: each for each in overlay}
    for each in merged:
        if (image := said.get(each["name"], {}).get("image")) is not None:
            assert each["image"] == image


@given(TEMPLATES)
def test_what_is_accepted_stays_restricted_and_is_planned_once(template: dict[str, Any]) -> None:
    given_facts = Facts(raw("custom", template=template), SETTINGS, EXTERNAL)
    judged = judge(given_facts)
    if judged.refusal is not None:
        assert judged.refusal.reason == "TemplateForbidden", judged.refusal
        return
    assert judged.worker is not None
    made = plan(given_facts, judged)
    for child in made.applies:
        given_facts.live[kind_of(child)] = _stored(child)
        assert holds(child, given_facts.live[kind_of(child)])
    assert plan(given_facts, judged).writes == 0
    pod = next(each for each in made.applies if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "custom-worker" and pod["terminationGracePeriodSeconds"] == 45
    for container in pod["containers"]:
        context = container["securityContext"]
        assert not context.get("privileged") and context["capabilities"] == {"drop": ["ALL"]}
        assert context["runAsNonRoot"] is True and context["allowPrivilegeEscalation"] is False
        assert context.get("runAsUser") != 0


@given(st.integers(1, 100), st.integers(1, 100))
def test_a_changed_worker_is_planned_again(before: int, after: int) -> None:
    first = Facts(raw("custom", concurrency=before), SETTINGS, EXTERNAL)
    for child in plan(first, judge(first)).applies:
        first.live[kind_of(child)] = _stored(child)
    second = Facts(raw("custom", concurrency=after), SETTINGS, EXTERNAL, live=first.live)
    kinds = {each["kind"] for each in plan(second, judge(second)).applies}
    assert ("Deployment" in kinds) == (before != after)
    assert not kinds & {"ServiceAccount", "Service", "NetworkPolicy", "PodDisruptionBudget"}


@given(st.sampled_from(["custom", "llm", "sidecar"]))
def test_children_are_the_same_every_time(name: str) -> None:
    given_facts = Facts(raw(name), SETTINGS, EXTERNAL)
    worker = read_object(Worker, raw(name))
    assert desired(worker, given_facts) == desired(worker, given_facts)


def _stored(child: dict[str, Any]) -> dict[str, Any]:
    """As the API server gives it back: with what it adds, quantities in another form, empty maps and lists gone."""
    value: dict[str, Any] = _normal(copy.deepcopy(child))
    value["metadata"] |= {"uid": f"uid-{child['kind']}", "resourceVersion": "9", "generation": 1}
    value["status"] = {"observedGeneration": 1}
    if child["kind"] == "Deployment":
        value["spec"]["replicas"] = 2
        value["spec"]["template"]["spec"] |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}
        for container in value["spec"]["template"]["spec"]["containers"]:
            container["terminationMessagePath"] = "/dev/termination-log"
    return value


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal({"0.1": "100m"}.get(item, item) if key == "cpu" else item) for key, item in value.items()}
    return [_normal(item) for item in value] if isinstance(value, list) else value


def _scalars(value: Any) -> Any:
    """Without lists that have no key to be merged by: those are replaced, or grow by items without a key."""
    if isinstance(value, dict):
        return {key: _scalars(item) for key, item in value.items() if not isinstance(item, list)}
    return value
