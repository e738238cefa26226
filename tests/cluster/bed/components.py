"""The command lines of the control plane's components, for the whole bed and for an API server alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.cluster.bed.pki import Authority
from tests.cluster.bed.programs import program

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi*"]
- level: Metadata
"""


def flags(program_name: str, values: Mapping[str, object]) -> list[str]:
    """Return a command; a value None leaves its flag out."""
    return [str(program(program_name)), *(f"--{name}={value}" for name, value in values.items() if value is not None)]


def etcd(data: Path, url: str, peer_url: str) -> list[str]:
    """Return etcd's command; it does not sync, since in tests only processes die."""
    values = {
        "data-dir": data,
        "listen-client-urls": url,
        "advertise-client-urls": url,
        "listen-peer-urls": peer_url,
        "initial-advertise-peer-urls": peer_url,
        "initial-cluster": f"default={peer_url}",
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }
    return flags("etcd", values)


def apiserver(
    authority: Authority, folder: Path, etcd_url: str, address: str, port: int, services: str, more: Mapping[str, object]
) -> list[str]:
    """Return kube-apiserver's command: RBAC, aggregation, and an audit log of everything at ``folder/audit.log``."""
    pki, policy = authority.folder, folder / "audit-policy.yaml"
    policy.write_text(AUDIT_POLICY)
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"]
    service = services.rsplit(".", 1)[0] + ".1"
    authority.issue("apiserver", "kube-apiserver", hosts=[*names, "127.0.0.1", address, service])
    authority.issue("admin", "admin", ["system:masters"])
    authority.issue("front", "front-proxy-client")
    values: dict[str, object] = {
        "etcd-servers": etcd_url,
        "bind-address": address,
        "advertise-address": address,
        "secure-port": port,
        "service-cluster-ip-range": services,
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "client-ca-file": authority.certificate,
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
        "authorization-mode": "Node,RBAC",
        "allow-privileged": "true",
        "kubelet-client-certificate": pki / "admin.crt",
        "kubelet-client-key": pki / "admin.key",
        "kubelet-certificate-authority": authority.certificate,
        "kubelet-preferred-address-types": "InternalIP",
        "requestheader-client-ca-file": authority.certificate,
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": pki / "front.crt",
        "proxy-client-key-file": pki / "front.key",
        "audit-policy-file": policy,
        "audit-log-path": folder / "audit.log",
        "audit-log-maxsize": 2000,
    }
    return flags("kube-apiserver", {**values, **more})


def controller_manager(authority: Authority, server: str, more: Mapping[str, object]) -> list[str]:
    """Return kube-controller-manager's command, without leader election."""
    authority.issue("controllers", "system:kube-controller-manager")
    values: dict[str, object] = {
        "kubeconfig": authority.kubeconfig("controllers", server),
        "service-account-private-key-file": authority.folder / "sa.key",
        "root-ca-file": authority.certificate,
        "cluster-signing-cert-file": authority.certificate,
        "cluster-signing-key-file": authority.folder / "ca.key",
        "use-service-account-credentials": "true",
        "leader-elect": "false",
    }
    return flags("kube-controller-manager", {**values, **more})
