"""What is asked without an API server, and of the objects once there is one again."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.cluster.convoy import Convoy
from tests.cluster.release import Release

PATIENCE = 120
"""Seconds that a run over the door may take."""


class Door:
    """The door of ``release``, for whom no API server can be asked where it is any more."""

    def __init__(self, release: Release) -> None:
        self._url, self._token = release.door_url(), release.token()

    def run(self, namespace: str, graph: str, given: dict[str, Any]) -> dict[str, Any]:
        """Run a graph from beginning to end; returns the run's document."""
        request = urllib.request.Request(
            f"{self._url}/v1/namespaces/{namespace}/taskgraphs/{graph}/runs?wait={PATIENCE}s",
            json.dumps({"input": given}).encode(),
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE + 30) as answer:
            return dict(json.load(answer))


def tells_the_truth(release: Release, convoy: Convoy, names: list[str]) -> bool:
    """I8: whether the objects of runs that ended say what the journal says."""
    found = convoy.statuses()
    for name in names:
        document = release.document(convoy.space.namespace, found[name]["runId"])
        said = {field: found[name].get(field) for field in ("phase", "startTime", "completionTime", "progress")}
        true = {"phase": document["phase"], "startTime": document["startedAt"], "completionTime": document["finishedAt"]}
        if said != {**true, "progress": f"{len(document['tasks'])}/{len(document['tasks'])}"}:
            return False
    return True
