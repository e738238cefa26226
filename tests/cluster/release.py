"""A release of the chart, as tests need it: small, quick to notice deaths, its journal in a PostgreSQL of the test's."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.forward import Forward
from tests.cluster.kube import Kube
from tests.services import PostgresServer

CHART = Path(__file__).parents[2] / "helm/arklex"
LEASE = 3
"""Seconds without a sign of life after which a pod of ours is dead: short, since tests wait for it."""

SMALL: dict[str, Any] = {
    "leaseSeconds": LEASE,
    "operator": {"replicas": 2, "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}},
    "metrics": {"replicas": 2, "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}},
    "runtime": {
        "autoscaling": {"minReplicas": 2, "maxReplicas": 3},
        "writesPerSecond": 100,
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    },
    "redis": {"persistence": {"enabled": False}, "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}}},
}
"""Values of every test's release, under what a test asks for."""


def merged(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Values laid over each other as helm does it."""
    result: dict[str, Any] = {}
    for one in values:
        for key, value in one.items():
            known = result.get(key)
            result[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, Mapping) else value
    return result


class HelmFailed(AssertionError):
    """helm ended with an error."""


@dataclass
class Release:
    """``kube`` is in the release's namespace; ``values`` are what it was installed with.

    There is no API server while ``no_api_server()`` is entered.
    """

    helm: tuple[str, ...]
    kube: Kube
    postgres: PostgresServer | None
    journal_url: str
    node_address: str
    values: dict[str, Any] = field(default_factory=dict)
    name: str = "arklex"
    lease: int = LEASE
    no_api_server: Callable[[], AbstractContextManager[None]] = nullcontext
    outside: bool = False
    """Whether the tests run on a machine that the cluster's Services cannot be reached from."""
    _before: list[dict[str, Any]] = field(default_factory=list)
    _forward: Forward | None = None

    @property
    def namespace(self) -> str:
        """Where the release lives."""
        return self.kube.namespace

    @property
    def fullname(self) -> str:
        """What the names of its objects begin with."""
        return self.name if "arklex" in self.name else f"{self.name}-arklex"

    def token(self) -> str:
        """The door's."""
        secret = self.kube.get("secret", f"{self.fullname}-door") or {}
        return base64.b64decode(secret["data"]["token"]).decode()

    def door_url(self) -> str:
        """Where the door is, as this machine reaches it."""
        if self.outside:
            self._forward = self._forward or Forward(self.kube, f"{self.fullname}-runtime", 8080)
            return f"http://{self._forward.address()}"
        service = self.kube.get("service", f"{self.fullname}-runtime") or {}
        return f"http://{service['spec']['clusterIP']}:8080"

    def document(self, namespace: str, run_id: str) -> dict[str, Any]:
        """A run's document, asked of the door with the release's token."""
        path = f"/v1/namespaces/{namespace}/runs/{run_id}"

        def ask() -> dict[str, Any]:
            headers = {"Authorization": f"Bearer {self.token()}"}
            request = urllib.request.Request(self.door_url() + path, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return dict(json.load(answer))
            except OSError:
                self.leave()
                raise

        return self.kube.until(ask, f"the door shows run {run_id}")

    def leave(self) -> None:
        """End the way to the door, if this release is looked at from outside; the next question makes another."""
        if self._forward is not None:
            self._forward.close()

    def attempts(self, namespace: str, run_id: str) -> dict[str, int]:
        """How often each task of a run was begun; of a forEach task the sum over its items."""
        return {name: task["attempts"] for name, task in self.document(namespace, run_id)["tasks"].items()}

    def run(self, *arguments: str, stdin: str | None = None, patience: float = 300) -> str:
        """Run helm; returns what it prints. Raises HelmFailed."""
        command = [*self.helm, f"--namespace={self.namespace}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=patience, check=False)
        if done.returncode != 0:
            raise HelmFailed(f"helm {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def install(self, *more: Mapping[str, Any], wait: bool = True) -> str:
        """Install or upgrade it with its values and ``more``, and wait until everything is ready; returns the notes."""
        self._before.append(self.values)
        self.values = merged(self.values, *more)
        waits = ["--wait", "--timeout=240s"] if wait else []
        return self.run("upgrade", "--install", self.name, str(CHART), "--values=-", *waits, stdin=json.dumps(self.values))

    def rollback(self) -> str:
        """Go back to what was before the last install, and wait until everything is ready."""
        done = self.run("rollback", self.name, "--wait", "--timeout=240s")
        self.values = self._before.pop()
        return done

    def uninstall(self) -> str:
        """Remove it."""
        return self.run("uninstall", self.name, "--wait", "--timeout=200s")

    def selects(self, component: str) -> str:
        """The selector of a component's pods: operator, metrics, runtime or redis."""
        return f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"

    def redis_cli(self, *arguments: str) -> str:
        """Ask the bundled Redis as its administrator."""
        (pod,) = self.kube.all("pods", f"--selector={self.selects('redis')}")
        script = 'exec redis-cli --no-auth-warning -a "$(cat /var/run/arklex/redis/password)" "$@"'
        return self.kube("exec", pod["metadata"]["name"], "--", "sh", "-c", script, "sh", *arguments)
