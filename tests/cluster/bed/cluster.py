"""A bed's life: up, status, down. Going down asks nothing of any part, so that a broken bed ends like a healthy one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.cluster.bed import cgroups, components, images, node, processes, recipes, space, store
from tests.cluster.bed.pki import Authority
from tests.cluster.bed.place import NODE, NODE_ADDRESS, PODS, SERVER, SERVICES, Place
from tests.cluster.bed.programs import program

ETCD = "http://127.0.0.1:2379"
PATIENCE = 120.0
"""Seconds after which a part that should work will not."""

APISERVER: dict[str, object] = {"enable-aggregator-routing": "true"}
CONTROLLERS: dict[str, object] = {
    "allocate-node-cidrs": "true",
    "cluster-cidr": PODS,
    "node-cidr-mask-size": 22,
    "horizontal-pod-autoscaler-sync-period": "5s",
    "horizontal-pod-autoscaler-initial-readiness-delay": "5s",
    "horizontal-pod-autoscaler-cpu-initialization-period": "20s",
    "concurrent-horizontal-pod-autoscaler-syncs": 5,
    "node-monitor-period": "2s",
    "node-monitor-grace-period": "20s",
}
PARTS = ("etcd", "containerd", "apiserver", "controllers", "scheduler", "kubelet", "proxy", "coredns", "metrics-server")

METRICS_API = """\
apiVersion: v1
kind: Service
metadata: {{name: metrics-server, namespace: kube-system}}
spec: {{ports: [{{name: https, port: 443, targetPort: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: metrics-server, namespace: kube-system, labels: {{kubernetes.io/service-name: metrics-server}}}}
addressType: IPv4
ports: [{{name: https, port: {port}}}]
endpoints: [{{addresses: ["{address}"], conditions: {{ready: true}}}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: v1beta1.metrics.k8s.io}}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  service: {{name: metrics-server, namespace: kube-system}}
  insecureSkipTLSVerify: true
"""

VOLUMES = 12
VOLUME_CLASS = """\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: bed, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
"""
VOLUME = """\
apiVersion: v1
kind: PersistentVolume
metadata: {{name: volume-{number}}}
spec:
  capacity: {{storage: 10Gi}}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: bed
  local: {{path: "{path}"}}
  nodeAffinity:
    required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{node}]}}]}}]}}
"""


class BedBroken(RuntimeError):
    """A part of the bed did not come up; the words say which, and the end of its log."""


class Step(NamedTuple):
    """What happened, and at which second since ``up`` was called."""

    words: str
    second: float


def up(place: Place) -> Iterator[Step]:
    """Bring the bed up, step by step; nothing if it is up and healthy. Raises BedBroken, ProgramMissing."""
    started = time.monotonic()
    if not ailments(place):
        yield Step("it is up already", 0)
        return
    down(place)
    for name in ("etcd", "kubelet", "helm", "coredns", "metrics-server"):
        program(name)
    pause = recipes.pause()
    place.state.mkdir(parents=True, mode=0o700)
    cgroups.create(place.name)
    space.create(place)
    authority = Authority(place.pki)
    (place.state / "apiserver").mkdir()

    def start(name: str, command: list[str]) -> None:
        processes.start(place, name, space.inside(place, command))

    start("etcd", components.etcd(place.state / "etcd", ETCD, "http://127.0.0.1:2380"))
    command = components.apiserver(authority, place.state / "apiserver", ETCD, NODE_ADDRESS, 6443, SERVICES, APISERVER)
    start("apiserver", command)
    command = node.containerd(place, pause)
    store.sweep(place)
    start("containerd", command)
    authority.kubeconfig("admin", SERVER)
    authority.issue("scheduler", "system:kube-scheduler")
    _wait(place, "containerd", lambda: space.ran(place, *store.ctr(place, "version")).returncode == 0)
    images.load(place, [pause])
    _wait(place, "apiserver", lambda: kubectl(place, "get", "--raw", "/readyz").returncode == 0)
    yield Step("the API server is ready", time.monotonic() - started)
    start("controllers", components.controller_manager(authority, SERVER, CONTROLLERS))
    scheduler = {"kubeconfig": authority.kubeconfig("scheduler", SERVER), "leader-elect": "false"}
    start("scheduler", components.flags("kube-scheduler", scheduler))
    start("kubelet", node.kubelet(place, authority))
    start("proxy", node.kube_proxy(authority))
    start("coredns", node.coredns(place))
    start("metrics-server", node.metrics_server(place, authority))
    kubectl(place, "apply", "--filename=-", stdin="---\n".join([_metrics_api(), VOLUME_CLASS, *_volumes(place)]))
    _wait(place, "kubelet", lambda: "True" in _ready(place))
    _wait(place, "controllers", lambda: kubectl(place, "get", "serviceaccount", "default").returncode == 0)
    yield Step(f"node {NODE} is ready", time.monotonic() - started)


def down(place: Place) -> list[str]:
    """End everything and remove what it left; return what would not go, in words. Bounded, whatever is broken."""
    left = [f"process {number} cannot be killed" for number in sorted(cgroups.kill(place.name))]
    left += [f"cgroup {folder} cannot be removed" for folder in cgroups.remove(place.name)]
    space.forget(place)
    shutil.rmtree(place.state, ignore_errors=True)
    if place.state.exists():
        left.append(f"folder {place.state} cannot be removed")
    return left


def ailments(place: Place) -> list[str]:
    """Return what is wrong with the bed, nothing if it is up and healthy."""
    if not place.state.exists():
        return ["it is down"]
    wrong = [f"{name} is not running" for name in (space.HOLDER, *PARTS) if processes.pid(place, name) is None]
    if not wrong and "True" not in _ready(place):
        wrong.append(f"node {NODE} is not ready")
    return wrong


def kubectl(place: Place, *arguments: str, stdin: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the bed's administrator."""
    command = [str(program("kubectl")), f"--kubeconfig={place.kubeconfig}", f"--cache-dir={place.state / 'cache'}", *arguments]
    return space.ran(place, *command, timeout=timeout, stdin=stdin)


@contextmanager
def without(place: Place, name: str) -> Iterator[None]:
    """Kill a part of the bed, and start it again afterwards; its data stay. Ends when it answers, if it is the API server."""
    processes.stop(place, name, 10, signal.SIGKILL)
    try:
        yield
    finally:
        processes.start_again(place, name)
        if name == "apiserver":
            _wait(place, name, lambda: kubectl(place, "get", "--raw", "/readyz").returncode == 0)


def restart(place: Place, name: str) -> None:
    """Kill a part of the bed and start it again at once."""
    with without(place, name):
        pass


def _metrics_api() -> str:
    return METRICS_API.format(address=NODE_ADDRESS, port=node.METRICS_PORT)


def _volumes(place: Place) -> Iterator[str]:
    """Make folders for volumes, and say what they are; each is used once."""
    for number in range(VOLUMES):
        path = place.state / f"volumes/{number}"
        path.mkdir(parents=True)
        yield VOLUME.format(number=number, path=path, node=NODE)


def _ready(place: Place) -> str:
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    return kubectl(place, "get", "node", NODE, f"--output=jsonpath={path}", "--request-timeout=5s").stdout


def _wait(place: Place, name: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if processes.pid(place, name) is None or time.monotonic() > deadline:
            raise BedBroken(f"{name} did not come up:\n{processes.log_end(place, name)}")
        time.sleep(0.1)
