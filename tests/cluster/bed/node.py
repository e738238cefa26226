"""What runs on the node: containerd, kubelet, kube-proxy, DNS and metrics, with their settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.bed import components, store
from tests.cluster.bed.pki import Authority
from tests.cluster.bed.place import DOMAIN, NODE, NODE_ADDRESS, POD_RANGE, PODS, SERVER, Place, cni_plugins
from tests.cluster.bed.programs import program

METRICS_PORT = 4443

CONTAINERD = """\
version = 2
root = "{root}"
state = "{state}/containerd/state"
disabled_plugins = [{disabled}]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""
UNUSED = (
    "snapshotter.v1.btrfs",
    "snapshotter.v1.zfs",
    "snapshotter.v1.devmapper",
    "snapshotter.v1.aufs",
    "internal.v1.tracing",
)

COREFILE = """\
.:53 {{
  bind {address}
  errors
  health {address}:8080
  kubernetes {domain} in-addr.arpa {{
    kubeconfig {kubeconfig} bed
  }}
  cache 5
}}
"""


def containerd(place: Place, pause: str) -> list[str]:
    """Return containerd's command; root, state, socket and network settings are the bed's own."""
    bridge: dict[str, Any] = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_RANGE}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    _write(
        place.state / "cni/10-pods.conflist", json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, portmap]})
    )
    values = {"state": place.state, "root": store.root(place), "socket": place.containerd, "pause": pause}
    for file, unused in ((place.state / "containerd.toml", UNUSED), (store.settings(place), (*UNUSED, "grpc.v1.cri"))):
        disabled = ", ".join(f'"io.containerd.{name}"' for name in unused)
        _write(file, CONTAINERD.format(**values, plugins=cni_plugins(), disabled=disabled))
    return ["containerd", "--config", str(place.state / "containerd.toml"), "--log-level", "info"]


def kubelet(place: Place, authority: Authority) -> list[str]:
    """Return the kubelet's command; it runs without privileges over the machine's limits, on either version of cgroups."""
    authority.issue("kubelet", f"system:node:{NODE}", ["system:nodes"], [NODE, NODE_ADDRESS, "127.0.0.1"])
    resolver = _write(place.state / "resolv.conf", f"nameserver {NODE_ADDRESS}\n")
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "address": NODE_ADDRESS,
        "healthzBindAddress": NODE_ADDRESS,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": f"unix://{place.containerd}",
        "tlsCertFile": str(place.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(place.pki / "kubelet.key"),
        "featureGates": {"KubeletInUserNamespace": True},
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi"},
        "imageGCHighThresholdPercent": 100,
        "enforceNodeAllocatable": [],
        "resolvConf": str(resolver),
        "podLogsDir": str(place.logs / "pods"),
        "maxPods": 250,
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "shutdownGracePeriod": "0s",
    }
    values = {
        "config": _write(place.state / "kubelet.yaml", yaml.safe_dump(settings)),
        "kubeconfig": authority.kubeconfig("kubelet", SERVER),
        "hostname-override": NODE,
        "node-ip": NODE_ADDRESS,
        "root-dir": place.state / "kubelet",
    }
    return components.flags("kubelet", values)


def kube_proxy(authority: Authority) -> list[str]:
    """Return kube-proxy's command; its rules live in the bed's network namespace."""
    authority.issue("proxy", "system:kube-proxy")
    values = {
        "kubeconfig": authority.kubeconfig("proxy", SERVER),
        "cluster-cidr": PODS,
        "conntrack-max-per-core": 0,
        "conntrack-tcp-timeout-established": "0s",
        "conntrack-tcp-timeout-close-wait": "0s",
        "hostname-override": NODE,
        "proxy-mode": "iptables",
        "healthz-bind-address": f"{NODE_ADDRESS}:10256",
    }
    return components.flags("kube-proxy", values)


def coredns(place: Place) -> list[str]:
    """Return CoreDNS' command; it listens on the node's address and forwards nothing."""
    text = COREFILE.format(address=NODE_ADDRESS, domain=DOMAIN, kubeconfig=place.kubeconfig)
    return [str(program("coredns")), "-conf", str(_write(place.state / "Corefile", text))]


def metrics_server(place: Place, authority: Authority) -> list[str]:
    """Return metrics-server's command, a sample every 10 s."""
    authority.issue("metrics-server", "metrics-server", ["system:masters"], ["metrics-server.kube-system.svc", NODE_ADDRESS])
    kubeconfig = authority.kubeconfig("metrics-server", SERVER)
    values = {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": NODE_ADDRESS,
        "secure-port": METRICS_PORT,
        "tls-cert-file": place.pki / "metrics-server.crt",
        "tls-private-key-file": place.pki / "metrics-server.key",
        "client-ca-file": authority.certificate,
        "requestheader-client-ca-file": authority.certificate,
        "kubelet-certificate-authority": authority.certificate,
        "kubelet-preferred-address-types": "InternalIP",
        "kubelet-request-timeout": "5s",
        "metric-resolution": "10s",
    }
    return components.flags("metrics-server", values)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
