"""What takes pods away that is no crash of theirs: evictions, deletes by force, the memory limit, a drain of the node."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.convoy import SELECTOR, Convoy
from tests.cluster.kube import Kube
from tests.cluster.victims import ready_pods

SPARED = ("redis", "operator", "metrics")
"""Components that a drain leaves where they are: an emptied Redis is another fault."""


def busiest(convoy: Convoy) -> str:
    """The pod of the convoy's pool that is in the middle of the most effects."""

    def look() -> str | None:
        ready = {pod["metadata"]["name"] for pod in ready_pods(convoy.space, SELECTOR)}
        held = Counter({pod: count for pod, count in convoy.ledger.held().items() if pod in ready})
        return held.most_common(1)[0][0] if held else None

    return convoy.space.until(look, "a ready pod is in the middle of something") or ""


def ready_pod(kube: Kube, selector: str) -> str:
    """A ready pod's name."""
    return str(kube.until(lambda: ready_pods(kube, selector), f"a ready pod of {selector}")[0]["metadata"]["name"])


def evict(kube: Kube, pod: str) -> None:
    """Ask for an eviction as ``kubectl drain`` does, again while the pod's budget refuses it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": kube.namespace}}
    path = f"/api/v1/namespaces/{kube.namespace}/pods/{pod}/eviction"
    kube.until(lambda: kube("create", f"--raw={path}", "--filename=-", stdin=json.dumps(body)), f"{pod} is evicted", pause=1)


def delete_by_force(kube: Kube, pod: str) -> None:
    """Take the object away at once, whatever its containers do."""
    kube("delete", "pod", pod, "--grace-period=0", "--force")


def killed_for_memory(space: Kube) -> set[str]:
    """The lives of the convoy's pods' containers that ended at their memory limit, by container id."""
    found = set()
    for pod in space.all("pods", f"--selector={SELECTOR}"):
        for status in pod["status"].get("containerStatuses", []):
            lives = [(status.get(field) or {}).get("terminated") or {} for field in ("state", "lastState")]
            found |= {life["containerID"] for life in lives if life.get("reason") == "OOMKilled"}
    return found


def devour(convoy: Convoy, at: int) -> str:
    """Begin a run whose effect number ``at`` takes all memory, and wait for the kernel to end its pod's process."""
    before = killed_for_memory(convoy.space)
    (run,) = convoy.set_out(1, ms=1500, devour=at)
    convoy.space.until(lambda: killed_for_memory(convoy.space) - before, "the kernel has ended a pod's process")
    return run


@contextmanager
def draining(kube: Kube) -> Iterator[None]:
    """Drain every node of workers' and runtimes' pods while inside; then nodes take pods again, and the drain has to end."""
    nodes = [node["metadata"]["name"] for node in kube.all("nodes")]
    chosen = f"--pod-selector=app.kubernetes.io/component notin ({','.join(SPARED)})"
    command = [*kube.command, "drain", *nodes, chosen, "--delete-emptydir-data", "--force", "--ignore-daemonsets"]
    with subprocess.Popen([*command, "--timeout=240s"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield
        finally:
            kube("uncordon", *nodes)
            said = process.communicate()[0]
        assert process.returncode == 0, said
