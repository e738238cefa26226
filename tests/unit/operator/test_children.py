"""Children against golden files; ``python -m tests.unit.operator.test_children`` writes those anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from arklex_api.objects import read_object
from arklex_api.worker import Worker
from arklex_operator.load.source import Found
from arklex_operator.manifests.names import child_name
from arklex_operator.reconcile.worker import desired, judge
from tests.unit.operator.examples import CPU, EXTERNAL, KEDA, facts, raw

GOLDEN = Path(__file__).parent / "golden"
CASES: dict[str, tuple[str, Found]] = {
    "custom": ("custom", EXTERNAL),
    "llm": ("llm", EXTERNAL),
    "llm-keda": ("llm", KEDA),
    "sidecar": ("sidecar", CPU),
}


def rendered(case: str) -> str:
    name, found = CASES[case]
    secrets = frozenset({("tickets", "token"), ("tickets", "other")}) if name == "llm" else frozenset()
    given = facts(name, found, secrets=secrets)
    judged = judge(given)
    assert judged.worker is not None and judged.refusal is None, judged.refusal
    return str(yaml.safe_dump_all(desired(judged.worker, given), sort_keys=False, width=120))


@pytest.mark.parametrize("case", CASES)
def test_children_are_as_they_were_agreed(case: str) -> None:
    assert rendered(case) == (GOLDEN / f"{case}.yaml").read_text()


def children(name: str) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text())}


@pytest.mark.parametrize("case", CASES)
def test_pods_keep_to_the_restricted_profile(case: str) -> None:
    pod = children(case)["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]} and context["runAsNonRoot"] is True


def test_a_handler_is_a_sidecar_that_ends_after_the_reader() -> None:
    pod = children("sidecar")["Deployment"]["spec"]["template"]["spec"]
    (handler,) = pod["initContainers"]
    assert (handler["name"], handler["restartPolicy"]) == ("handler", "Always")
    assert [each["name"] for each in pod["containers"]] == ["worker"]


def test_lower_limits_lower_the_requests() -> None:
    (worker,) = children("sidecar")["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert worker["resources"]["requests"]["memory"] == "128Mi"


def test_no_deployment_says_how_many_replicas() -> None:
    assert all("replicas" not in children(case)["Deployment"]["spec"] for case in CASES)


def test_the_internet_is_without_the_api_server() -> None:
    egress = children("llm")["NetworkPolicy"]["spec"]["egress"]
    (internet,) = [each["ipBlock"] for each in egress[-1]["to"] if each["ipBlock"]["cidr"] == "0.0.0.0/0"]
    assert "203.0.113.7/32" in internet["except"] and "169.254.0.0/16" in internet["except"]
    assert "10.96.0.1/32" not in internet["except"]


def test_names_stay_within_63_characters_and_apart() -> None:
    long = [child_name("a" * 62 + end) for end in "bc"]
    assert all(len(name) <= 63 for name in long) and len(set(long)) == 2
    assert child_name("w") == "w-worker"


def test_a_spec_in_the_environment_is_not_expanded_by_the_kubelet() -> None:
    (container,) = children("custom")["Deployment"]["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each.get("value") for each in container["env"]}
    assert "$$(PRICE)" in told["ARKLEX_WORKER_SPEC"] and "$$5" in told["ARKLEX_WORKER_SPEC"]


def test_a_worker_is_read_without_what_a_newer_version_added() -> None:
    assert read_object(Worker, raw("custom", added="later")).spec.type == "custom"


if __name__ == "__main__":
    for each in CASES:
        (GOLDEN / f"{each}.yaml").write_text(rendered(each))
