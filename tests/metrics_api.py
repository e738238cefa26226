"""The real ``arklex-metrics`` process beside a real API server, with the rights that it has in a cluster and no more."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.controlplane import ControlPlane
from tests.services import free_port

ROOT = Path(__file__).parents[1]
GROUP = "/apis/external.metrics.k8s.io/v1beta1"
API_SERVICE = "v1beta1.external.metrics.k8s.io"
HOLDER = "keda/keda-operator-metrics-apiserver"
"""Who serves that where KEDA is installed; FOREIGN is its registration."""
FOREIGN = f"""
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: {API_SERVICE}, labels: {{app.kubernetes.io/part-of: keda-operator}}}}
spec:
  group: external.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {{namespace: keda, name: keda-operator-metrics-apiserver, port: 443}}
"""
PATIENCE = 90.0
"""Seconds within which what must happen happens, on a machine that does other things too."""

RIGHTS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: arklex-metrics}
rules:
- {apiGroups: [arklex.ai], resources: [workers], verbs: [list]}
- {apiGroups: [apps], resources: [deployments], verbs: [list]}
- {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [list]}
- {apiGroups: [""], resources: [pods], verbs: [list]}
- {apiGroups: [metrics.k8s.io], resources: [pods], verbs: [list]}
- {apiGroups: [""], resources: [namespaces], verbs: [get]}  # the chart names its own: others' then count as there
- {apiGroups: [apiregistration.k8s.io], resources: [apiservices], verbs: [create]}
- apiGroups: [apiregistration.k8s.io]
  resources: [apiservices]
  resourceNames: [v1beta1.external.metrics.k8s.io]
  verbs: [get, patch, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: arklex-metrics-NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: arklex-metrics}
subjects: [{kind: ServiceAccount, name: arklex-metrics, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: arklex-metrics-NAMESPACE, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects: [{kind: ServiceAccount, name: arklex-metrics, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: arklex-metrics, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [create]}
- {apiGroups: [""], resources: [secrets], resourceNames: [arklex-metrics-tls], verbs: [get, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: arklex-metrics, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: arklex-metrics}
subjects: [{kind: ServiceAccount, name: arklex-metrics, namespace: NAMESPACE}]
---
apiVersion: v1
kind: Service
metadata: {name: arklex-metrics, namespace: NAMESPACE}
spec: {type: ExternalName, externalName: localhost, ports: [{port: PORT}]}
"""


@dataclass
class MetricsServer:
    """One replica of ``arklex-metrics`` on the loopback."""

    plane: ControlPlane
    namespace: str
    port: int
    environment: dict[str, str]
    admin_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it printed."""
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.plane.folder / f"metrics-{self.port}-{self.admin_port}.log"

    def start(self) -> None:
        """Start it, and wait until it serves."""
        ports = {"ARKLEX_API_PORT": str(self.port), "ARKLEX_METRICS_PORT": str(self.admin_port)}
        path = os.pathsep.join(str(ROOT / part) for part in ("crds", "operator"))
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, **self.environment, **ports}
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "arklex_operator.metrics.main"]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.until(lambda: self.admin("/readyz")[0] == 200, "it is ready")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; return its exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def admin(self, path: str) -> tuple[int, str]:
        """Ask its own port; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            ended = self.process is not None and self.process.poll() is not None
            assert not ended and time.monotonic() < deadline, f"never: {what}\n{self.admin('/readyz')}\n{self.log[-3000:]}"
            time.sleep(0.2)

    def served(self) -> bool:
        """Return whether the API server finds our API behind its APIService."""
        condition = '{.status.conditions[?(@.type=="Available")].status}'
        found = self.plane.kubectl("get", "apiservice", API_SERVICE, "--ignore-not-found", f"--output=jsonpath={condition}")
        return found == "True"


def prepare(plane: ControlPlane, redis_url: str, namespace: str | None = None) -> MetricsServer:
    """Make a namespace with the rights and the Service of ``arklex-metrics``; the server is not started."""
    namespace, port = namespace or f"system-{uuid.uuid4().hex[:8]}", free_port()
    plane.kubectl("create", "namespace", namespace)
    rights = RIGHTS.replace("NAMESPACE", namespace).replace("PORT", str(port))
    plane.kubectl("apply", "--filename=-", stdin=rights)
    environment = {
        "KUBECONFIG": str(plane.service_account(namespace, "arklex-metrics")),
        "ARKLEX_REDIS_URL": redis_url,
        "POD_NAMESPACE": namespace,
        "ARKLEX_METRICS_SERVICE_PORT": str(port),
    }
    return MetricsServer(plane, namespace, port, environment)


@contextlib.contextmanager
def metrics_server(plane: ControlPlane, redis_url: str, **more: str) -> Iterator[MetricsServer]:
    """Run one replica whose API the API server has found; ``more`` are environment variables."""
    server = prepare(plane, redis_url)
    server.environment.update(more)
    try:
        server.start()
        server.until(server.served, "the API server finds it")
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
        plane.kubectl("delete", "apiservice", API_SERVICE, "--ignore-not-found")


def hpa_account(plane: ControlPlane) -> Path:
    """Return the kubeconfig of the HPA controller's ServiceAccount."""
    return plane.service_account("kube-system", "horizontal-pod-autoscaler")


def load_of(plane: ControlPlane, namespace: str, worker: str) -> str:
    """Return the value that the HPA controller reads. Raises AssertionError with the API server's words."""
    path = f"{GROUP}/namespaces/{namespace}/arklex-worker-load?labelSelector=arklex.ai%2Fworker%3D{worker}"
    answer = json.loads(plane.kubectl("get", f"--raw={path}", kubeconfig=hpa_account(plane)))
    assert answer["kind"] == "ExternalMetricValueList"
    (item,) = answer["items"]
    assert item["metricLabels"] == {"arklex.ai/worker": worker}
    return str(item["value"])
