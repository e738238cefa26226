"""A cluster through its kubectl, as a person would use it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.error import URLError

T = TypeVar("T")
PATIENCE = 180.0
"""Seconds after which something that should have happened will not."""

ENDED = ("Succeeded", "Failed", "Cancelled")
"""The phases of a run that is over."""

Object = dict[str, Any]


class KubectlFailed(AssertionError):
    """kubectl ended with an error; the message is what it said."""


@dataclass(frozen=True)
class Kube:
    """kubectl with a kubeconfig, by default in one namespace."""

    command: tuple[str, ...]
    namespace: str = "default"

    def within(self, namespace: str) -> Kube:
        """The same in another namespace."""
        return Kube(self.command, namespace)

    def __call__(self, *arguments: str, stdin: str | None = None, patience: float = PATIENCE) -> str:
        """Run kubectl; returns what it prints. Raises KubectlFailed."""
        command = [*self.command, f"--namespace={self.namespace}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=patience, check=False)
        if done.returncode != 0:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def apply(self, *objects: Object, server_side: bool = False) -> None:
        """Apply objects, each in its own namespace or in this one."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self("apply", *(["--server-side"] if server_side else []), "--filename=-", stdin=text)

    def create(self, body: Object) -> str:
        """Create an object; returns its name."""
        return str(json.loads(self("create", "--output=json", "--filename=-", stdin=json.dumps(body)))["metadata"]["name"])

    def create_all(self, *objects: Object) -> None:
        """Create objects that have names, by one command."""
        self("create", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def get(self, kind: str, name: str) -> Object | None:
        """The object, or None if there is none."""
        out = self("get", kind, name, "--ignore-not-found", "--output=json")
        return dict(json.loads(out)) if out.strip() else None

    def all(self, kind: str, *selectors: str) -> list[Object]:
        """The objects of a kind."""
        return list(json.loads(self("get", kind, "--output=json", *selectors))["items"])

    def patch(self, kind: str, name: str, change: Object, how: str = "merge", subresource: str = "") -> None:
        """Patch an object."""
        more = [f"--subresource={subresource}"] if subresource else []
        self("patch", kind, name, f"--type={how}", f"--patch={json.dumps(change)}", *more)

    def delete(self, kind: str, name: str, wait: bool = False) -> None:
        """Delete an object, if there is one."""
        self("delete", kind, name, "--ignore-not-found", f"--wait={str(wait).lower()}")

    def events(self, name: str) -> list[Object]:
        """The events about objects of this name."""
        found = self.all("events.events.k8s.io")
        return [event for event in found if event.get("regarding", {}).get("name") == name]

    def reasons(self, name: str) -> set[str]:
        """The reasons of those events."""
        return {event["reason"] for event in self.events(name)}

    def status(self, kind: str, name: str) -> Object:
        """The object's status; empty where it has none yet."""
        found = self.get(kind, name)
        return dict(found.get("status") or {}) if found else {}

    def condition(self, kind: str, name: str, type_: str) -> Object | None:
        """The condition of that type, if it speaks of the object as it is now."""
        found = self.get(kind, name)
        for one in (found or {}).get("status", {}).get("conditions", []):
            if one["type"] == type_ and one.get("observedGeneration") == (found or {})["metadata"]["generation"]:
                return dict(one)
        return None

    def until(self, look: Callable[[], T], what: str, patience: float = PATIENCE, pause: float = 0.25) -> T:
        """Look until it is true; fails with ``what`` and the last answer."""
        deadline = time.monotonic() + patience
        while True:
            try:
                answer = look()
            except (KubectlFailed, subprocess.TimeoutExpired, URLError, ConnectionError, TimeoutError) as error:
                answer, failure = None, error
                found: Any = failure
            else:
                found = answer
                if answer:
                    return answer
            assert time.monotonic() < deadline, f"after {patience:.0f} s still not: {what}; last: {found}"
            time.sleep(pause)

    def until_condition(
        self, kind: str, name: str, type_: str, status: str = "True", reason: str | None = None, patience: float = PATIENCE
    ) -> Object:
        """Wait for a condition of the object as it is now."""

        def look() -> Object | None:
            one = self.condition(kind, name, type_)
            held = one is not None and one["status"] == status and reason in (None, one["reason"])
            return one if held else None

        try:
            return self.until(look, f"{kind}/{name} {type_}={status} {reason or ''}", patience) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(kind, name), indent=1)}") from None

    def until_phase(self, kind: str, name: str, phases: Iterable[str], patience: float = PATIENCE) -> Object:
        """Wait until the status' phase is one of these; returns the status."""
        wanted = tuple(phases)

        def look() -> Object | None:
            status = self.status(kind, name)
            return status if status.get("phase") in wanted else None

        try:
            return self.until(look, f"{kind}/{name} is one of {wanted}", patience) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(kind, name), indent=1)}") from None


def worker(name: str, handler: str = "probe:handle", **spec: Any) -> Object:
    """A Worker of type custom whose handler comes from the ConfigMap ``handlers``; small and quick to start."""
    scaling = {"minReplicas": 1, "maxReplicas": 3, "cooldownSeconds": 15}
    template = {
        "spec": {
            "containers": [
                {
                    "name": "worker",
                    "volumeMounts": [{"name": "handlers", "mountPath": "/handlers"}],
                    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
                }
            ],
            "volumes": [{"name": "handlers", "configMap": {"name": "handlers"}}],
        }
    }
    body = {"type": "custom", "config": {"handler": handler}, "scaling": scaling, "template": template, **spec}
    return {"apiVersion": "arklex.ai/v1alpha1", "kind": "Worker", "metadata": {"name": name}, "spec": body}


def graph(name: str, tasks: list[Object], **spec: Any) -> Object:
    """A TaskGraph."""
    return {
        "apiVersion": "arklex.ai/v1alpha1",
        "kind": "TaskGraph",
        "metadata": {"name": name},
        "spec": {"tasks": tasks, **spec},
    }


def run_of(name: str, graph_name: str, **spec: Any) -> Object:
    """A TaskGraphRun."""
    return {
        "apiVersion": "arklex.ai/v1alpha1",
        "kind": "TaskGraphRun",
        "metadata": {"name": name},
        "spec": {"graph": graph_name, **spec},
    }


def step(
    name: str, action: str = "echo", *after: str, worker: str = "probe", given: Object | None = None, **more: Any
) -> Object:
    """A task on the probe Worker; ``given`` is its ``with``."""
    task = {"name": name, "worker": worker, "action": action, **more}
    return {**task, **({"dependsOn": list(after)} if after else {}), **({"with": given} if given is not None else {})}
