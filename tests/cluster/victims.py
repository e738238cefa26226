"""The processes of pods, as the machine that runs the bed sees them: to be killed, stopped and continued."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.kube import Kube, Object


def pids_of(pod: Object) -> list[int]:
    """The processes of a pod's containers, oldest first; the pause process is not among them."""
    uid = pod["metadata"]["uid"].encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if (b"pod" + uid) in entry.joinpath("cgroup").read_bytes() and b"busybox" not in entry.joinpath(
                "cmdline"
            ).read_bytes():
                found.append(int(entry.name))
    return sorted(found)


def signal_pod(pod: Object, what: signal.Signals) -> int:
    """Send a signal to every process of a pod; returns to how many."""
    sent = 0
    for pid in pids_of(pod):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)
            sent += 1
    return sent


@contextlib.contextmanager
def stopped(pod: Object) -> Iterator[None]:
    """SIGSTOP for a while."""
    assert signal_pod(pod, signal.SIGSTOP), pod["metadata"]["name"]
    try:
        yield
    finally:
        signal_pod(pod, signal.SIGCONT)


def ready_pods(kube: Kube, selector: str) -> list[Object]:
    """The pods that are ready and not on their way out."""
    pods = kube.all("pods", f"--selector={selector}")
    return [
        pod
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))
    ]


def kill_one(kube: Kube, selector: str) -> str:
    """SIGKILL every process of one ready pod; returns the pod's name once its containers have ended."""
    pod = kube.until(lambda: ready_pods(kube, selector), f"a ready pod of {selector}")[0]
    assert signal_pod(pod, signal.SIGKILL), pod["metadata"]["name"]
    time.sleep(0.5)
    return str(pod["metadata"]["name"])
