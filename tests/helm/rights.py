"""What each service account may do. ``python -m tests.helm.rights`` writes the golden file anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.cluster.bed.programs import MONITORING, program
from tests.controlplane import ControlPlane, control_plane
from tests.helm.charts import GOLDEN, Object, case

FILE = GOLDEN / "rights.txt"
NAMESPACES = ("arklex-system", "team-a", "team-b", "team-c")
FOR_ONCE = ("Job", "Pod", "PersistentVolumeClaim")
"""Kinds that are not installed: the cases differ in what cannot be changed of them."""

ACCOUNTS = ("operator", "metrics", "runtime", "hooks-secrets", "hooks-cleanup", "hooks-check")

_FORBIDDEN: Object = {
    "apiVersion": "arklex.ai/v1alpha1",
    "kind": "Worker",
    "metadata": {"name": "forbidden", "namespace": "team-a"},
    "spec": {"type": "custom", "config": {"handler": "m:f"}, "template": {"spec": {"hostNetwork": True}}},
}
_STRANGE: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "strange", "namespace": "team-a"}}


def installed() -> Iterator[ControlPlane]:
    """An API server with the default case applied, the namespaces of the cases, Pod Security enforced, and monitors known."""
    with control_plane() as running:
        for name in NAMESPACES:
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
            running.kubectl("apply", "--server-side", "--filename=-", stdin=yaml.safe_dump_all([namespace, account]))
        running.add_crds(*(program(f"monitoring-{kind}.yaml") for kind in MONITORING))
        objects = [found for found in case("default") if found["kind"] not in FOR_ONCE]
        running.kubectl(
            "apply",
            "--server-side",
            "--force-conflicts",
            "--validate=strict",
            "--filename=-",
            stdin=yaml.safe_dump_all(objects),
        )
        for kubeconfig, body in ((None, _FORBIDDEN), (running.service_account("arklex-system", "arklex-operator"), _STRANGE)):
            _until_refused(running, kubeconfig, body)
        yield running


def _until_refused(plane: ControlPlane, kubeconfig: Path | None, body: Object) -> None:
    """Policies are in force a little after they are there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            plane.kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump(body), kubeconfig=kubeconfig)
        except AssertionError as error:
            if "denied request" in str(error):
                return
        time.sleep(0.1)
    raise AssertionError(f"the policies still allow {body}")


def rights(plane: ControlPlane) -> str:
    """What `kubectl auth can-i --list` says, per account and namespace, without what every user may."""
    everybody = _list(plane, plane.service_account("arklex-system", "nobody"), "team-a")
    parts = []
    for account in ACCOUNTS:
        kubeconfig = plane.service_account("arklex-system", f"arklex-{account}")
        for where, namespace in (("in the release's namespace", "arklex-system"), ("in a tenant's", "team-a")):
            parts += [f"# {account} {where}", *sorted(_list(plane, kubeconfig, namespace) - everybody), ""]
    return "\n".join(parts)


def _list(plane: ControlPlane, kubeconfig: Path, namespace: str) -> set[str]:
    command = ("auth", "can-i", "--list", f"--namespace={namespace}", "--no-headers")
    return {" ".join(line.split()) for line in plane.kubectl(*command, kubeconfig=kubeconfig).splitlines()}


if __name__ == "__main__":
    for plane in installed():
        FILE.write_text(rights(plane), encoding="utf-8")
