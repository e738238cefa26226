"""What is said of pods that do not work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arklex_operator.reconcile.pods import mounting, trim_pod, trouble, waits_for_volumes

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def pod(name: str = "p", seconds: int = 60, phase: str = "Pending", **status: Any) -> dict[str, Any]:
    created = (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    volumes = [{"name": "secret-1", "secret": {"secretName": "openai"}}, {"name": "tmp", "emptyDir": {}}]
    containers = [{"name": "worker", "image": "team/worker:7", "command": ["arklex", "worker"]}]
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}", "creationTimestamp": created}
    spec = {"nodeName": "node", "containers": containers, "volumes": volumes}
    return trim_pod({"metadata": metadata, "spec": spec, "status": {"phase": phase, **status}})


def container(**more: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "worker", "ready": False, "restartCount": 0, "image": "team/worker:7", **more}]}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return container(state={"waiting": {"reason": reason, "message": message}})


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


CASES: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "probe",
        container(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(0)),
        "PodsCrash",
        "kubectl describe pod",
    ),
    ("pull", waiting("ImagePullBackOff"), "ImagePullFailed", "team/worker:7"),
    ("never", waiting("ErrImageNeverPull", "not present with pull policy of Never"), "ImagePullFailed", "Never"),
    ("secret", waiting("CreateContainerConfigError", 'secret "absent" not found'), "SecretMissing", "absent"),
    ("map", waiting("CreateContainerConfigError", 'configmap "absent" not found'), "ConfigMapMissing", "absent"),
    ("root", waiting("CreateContainerConfigError", "image will run as root"), "PodsMisconfigured", "numeric USER"),
    (
        "crash",
        container(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(1, message="a\nno module named x\n")),
        "PodsCrash",
        "no module named x",
    ),
    ("memory", container(restartCount=3, state={"running": {}}, lastState=ended(137, "OOMKilled")), "OutOfMemory", "memory"),
    ("once", container(restartCount=1, state={"running": {}}, lastState=ended(137, "OOMKilled")), "OutOfMemory", "memory"),
    (
        "nodes",
        {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]},
        "Unschedulable",
        "0/3 nodes",
    ),
    ("evicted", {"phase": "Failed", "reason": "Evicted", "message": "low on disk"}, "PodsFailed", "low on disk"),
]


@pytest.mark.parametrize(("status", "reason", "says"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_trouble_names_its_cause(status: dict[str, Any], reason: str, says: str) -> None:
    found = trouble([pod(**status)], None, {})
    assert found is not None and found.reason == reason and says in found.message


def test_a_crash_names_the_command_that_shows_its_log() -> None:
    found = trouble([pod(**container(restartCount=2, state=ended(3)))], None, {})
    assert found is not None and "kubectl logs -n team p -c worker --previous" in found.message


@pytest.mark.parametrize(
    ("event", "reason", "says"),
    [
        ('MountVolume.SetUp failed for volume "connection" : secret "absent" not found', "SecretMissing", "absent"),
        (
            'MountVolume.SetUp failed for volume "secret-1" : references non-existent secret key: apiKey',
            "SecretMissing",
            "the Secret openai has no key apiKey",
        ),
        ("timed out waiting for the condition", "MountFailed", "timed out"),
    ],
)
def test_a_volume_that_cannot_be_mounted_is_told_by_its_event(event: str, reason: str, says: str) -> None:
    stuck = pod(**waiting("ContainerCreating"))
    assert mounting([stuck], NOW) == [stuck] and mounting([pod(seconds=5, **waiting("ContainerCreating"))], NOW) == []
    assert trouble([stuck], None, {}) is None
    found = trouble([stuck], None, {"uid-p": event})
    assert found is not None and found.reason == reason and says in found.message


def test_healthy_and_leaving_pods_are_no_trouble() -> None:
    running = pod(
        phase="Running", containerStatuses=[{"name": "worker", "ready": True, "restartCount": 4, "state": {"running": {}}}]
    )
    leaving = pod("q", **waiting("ImagePullBackOff"))
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    assert trouble([running, leaving], None, {}) is None
    assert not waits_for_volumes(running)


def test_the_newest_pod_speaks() -> None:
    old, new = pod("old", 600, **waiting("ImagePullBackOff")), pod("new", 5, **waiting("CreateContainerError", "no such file"))
    found = trouble([old, new], None, {})
    assert found is not None and found.reason == "PodsMisconfigured"


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"type": "ReplicaFailure", "status": "True", "message": "pods x is forbidden: exceeded quota: q"}, "QuotaExceeded"),
        ({"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}, "PodsForbidden"),
        ({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}, "RolloutStuck"),
    ],
)
def test_pods_that_are_not_even_made(condition: dict[str, Any], reason: str) -> None:
    found = trouble([], {"status": {"conditions": [condition]}}, {})
    assert found is not None and found.reason == reason


def test_a_trimmed_pod_is_small_and_says_nothing_of_its_environment() -> None:
    kept = pod()
    assert "command" not in kept["spec"]["containers"][0]
    assert [each["name"] for each in kept["spec"]["volumes"]] == ["secret-1"]
