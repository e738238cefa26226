"""What the chart renders, held against files: after a change `python -m tests.helm.charts`, and read the difference."""

from __future__ import annotations

import pytest
import yaml

from tests.helm.charts import CASES, CHART, EVERYWHERE, GOLDEN, case, cases, golden, helm, key, render


@pytest.mark.parametrize("name", cases())
def test_a_case_renders_as_its_golden_file(name: str) -> None:
    assert golden(name) == (GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")


def test_every_case_has_a_golden_file_and_every_file_a_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(cases())


@pytest.mark.parametrize("name", cases())
def test_helm_lint_has_nothing_against_a_case(name: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, f"--values={CASES / f'{name}.yaml'}")


@pytest.mark.parametrize("name", cases())
def test_every_object_is_labelled_and_in_a_namespace_of_ours(name: str) -> None:
    values = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    namespaces = {None, "arklex-system", "kube-system", *values.get("watchNamespaces", [])}
    for found in case(name):
        assert found["metadata"]["labels"].items() >= EVERYWHERE.items(), key(found)
        assert found["metadata"].get("namespace") in namespaces, key(found)


def test_names_follow_the_release() -> None:
    assert "Deployment two-arklex-operator" in {f"{each['kind']} {each['metadata']['name']}" for each in render(release="two")}
    long = render(release="a-release-whose-name-is-as-long-as-helm-allows-it-53c")
    assert max(len(found["metadata"]["name"]) for found in long if "rbac" not in found["apiVersion"]) <= 63


@pytest.mark.parametrize("name", cases())
def test_rendering_twice_gives_the_same(name: str) -> None:
    """Under GitOps whatever a template makes up, a password or a certificate, is made up again with every sync."""
    assert case(name) == case(name)


def test_a_second_installation_has_nothing_of_the_cluster() -> None:
    assert {found["metadata"].get("namespace") for found in case("second")} == {"arklex-system", "team-c"}
    assert not {found["kind"] for found in case("second")} & {
        "CustomResourceDefinition",
        "ClusterRole",
        "ValidatingAdmissionPolicy",
    }


def test_a_namespaced_installation_has_no_right_beyond_its_namespaces_but_to_register_the_metrics_api() -> None:
    bound = {found["roleRef"]["name"] for found in case("namespaced") if found["kind"] == "ClusterRoleBinding"}
    roles = [found for found in case("namespaced") if found["kind"] == "ClusterRole" and found["metadata"]["name"] in bound]
    assert {found["metadata"]["name"] for found in roles} == {
        "arklex-hooks-cleanup-registration",
        "arklex-metrics-registration",
        "arklex-operator-source",
    }
    for found in roles:
        for rule in found["rules"]:
            assert rule["resources"] in (["apiservices"], ["namespaces"])
            assert rule.get("resourceNames") or rule["verbs"] in (["create"], ["get"])


@pytest.mark.parametrize("name", cases())
def test_no_right_is_a_wildcard_and_secrets_are_named(name: str) -> None:
    for found in case(name):
        for rule in found.get("rules", []):
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"], key(found)
            if "secrets" in rule["resources"]:
                assert rule.get("resourceNames") or rule["verbs"] == ["create"], key(found)


@pytest.mark.parametrize("name", cases())
def test_notes_name_commands_on_objects_that_exist(name: str) -> None:
    notes = helm(
        "install", "arklex", CHART, "--dry-run=client", f"--namespace={'arklex-system'}", f"--values={CASES / f'{name}.yaml'}"
    ).split("NOTES:", 1)[1]
    assert "kubectl -n arklex-system rollout status" in notes and "--server-side" in notes and "200 KiB" in notes
    names = {f"{found['kind'].lower()}/{found['metadata']['name']}" for found in case(name)}
    (rollout,) = [line for line in notes.splitlines() if "rollout status" in line]
    assert {word for word in rollout.split() if "/" in word} <= names
