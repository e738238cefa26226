"""What a person would look at when a test on a cluster has failed; bounded."""

from __future__ import annotations

import contextlib
import json
import subprocess

from tests.cluster.kube import Kube, KubectlFailed

LINES = 40
"""Of each pod's log, and of the events, so many of the last."""
SIZE = 4000
"""At most so many characters of each part."""
KINDS = "pods,deployments,statefulsets,jobs,horizontalpodautoscalers,persistentvolumeclaims"
OURS = "taskgraphs,taskgraphruns,workers"


def of(kube: Kube) -> str:
    """Return objects, statuses, events and logs of a namespace, in words."""
    parts = [_ask(kube, "get", KINDS, "--output=wide"), _ask(kube, "get", OURS)]
    with contextlib.suppress(KubectlFailed, subprocess.TimeoutExpired):
        statuses = [[one["kind"], one["metadata"]["name"], one.get("status")] for one in kube.all(OURS)]
        parts.append(json.dumps(statuses, indent=1)[:SIZE])
    events = _ask(kube, "get", "events", "--sort-by=.lastTimestamp")
    parts.append("\n".join(events.splitlines()[-LINES:]))
    with contextlib.suppress(KubectlFailed, subprocess.TimeoutExpired):
        for pod in kube.all("pods")[:12]:
            name = pod["metadata"]["name"]
            parts.append(f"── {name}\n{_ask(kube, 'logs', name, '--all-containers', f'--tail={LINES}')[-SIZE:]}")
            if any(one.get("restartCount") for one in pod["status"].get("containerStatuses", [])):
                before = _ask(kube, "logs", name, "--previous", f"--tail={LINES}")
                parts.append(f"── {name}, before its restart\n{before[-SIZE:]}")
    return "\n\n".join(parts)


def _ask(kube: Kube, *arguments: str) -> str:
    try:
        return kube(*arguments, patience=30)
    except (KubectlFailed, subprocess.TimeoutExpired) as failure:
        return str(failure)
