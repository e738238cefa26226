"""The NetworkPolicy of a Worker: in for metrics, out to DNS, Redis and what ``spec.egress`` says."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from arklex_api.worker import EgressRule, Worker
from arklex_operator.manifests.kinds import NETWORK_POLICY, Object
from arklex_operator.manifests.names import child_metadata, selector
from arklex_operator.manifests.pod import PORT

PRIVATE = {
    "0.0.0.0/0": (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
        *("198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
    ),
    "::/0": ("::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
}
"""What the internet's addresses do not include: private, link-local (metadata services) and multicast ranges."""

INTERNET_TYPES = ("llm", "browser")


def network_policy(worker: Worker, redis_url: str, operator_namespace: str, api_servers: Sequence[str] = ()) -> Object:
    """The policy. ``redis_url`` is what pods are told; ``api_servers`` are CIDRs that the internet does not include either."""
    return {
        "apiVersion": NETWORK_POLICY.api_version,
        "kind": NETWORK_POLICY.name,
        "metadata": child_metadata(worker),
        "spec": {
            "podSelector": {"matchLabels": selector(worker.metadata.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": PORT, "protocol": "TCP"}]}],
            "egress": [
                {"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]},
                _redis(redis_url, operator_namespace),
                *_out(worker, api_servers),
            ],
        },
    }


def _redis(redis_url: str, operator_namespace: str) -> Object:
    """To an address, to pods of a namespace for a name inside the cluster, to anywhere for any other name; on the port only."""
    url = urlsplit(redis_url)
    host, rule = url.hostname or "", {"ports": [{"port": url.port or 6379, "protocol": "TCP"}]}
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        namespace = _namespace_of(host, operator_namespace)
        if namespace is None:
            return rule
        return {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}], **rule}
    return {"to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}], **rule}


def _namespace_of(host: str, operator_namespace: str) -> str | None:
    parts = host.split(".")
    if len(parts) == 1:
        return operator_namespace
    return parts[1] if len(parts) == 2 or parts[2] == "svc" else None


def _out(worker: Worker, api_servers: Sequence[str]) -> list[Object]:
    if worker.spec.egress is not None:
        return [_rule(rule) for rule in worker.spec.egress]
    if worker.spec.type not in INTERNET_TYPES:
        return []
    closed = [network for text in api_servers if (network := _network(text)) is not None]
    blocks = []
    for whole, private in PRIVATE.items():
        networks = [ipaddress.ip_network(each) for each in private]
        extra = [
            each
            for each in closed
            if each.version == networks[0].version and each.prefixlen > 0 and not any(_within(each, one) for one in networks)
        ]
        blocks.append({"ipBlock": {"cidr": whole, "except": [*private, *(str(each) for each in sorted(extra, key=str))]}})
    return [{"to": blocks, "ports": [{"port": 443, "protocol": "TCP"}]}]


def _rule(rule: EgressRule) -> Object:
    block = {"cidr": rule.cidr, **({"except": list(rule.except_)} if rule.except_ else {})}
    ports = [{"port": port, "protocol": "TCP"} for port in rule.ports]
    return {"to": [{"ipBlock": block}], **({"ports": ports} if ports else {})}


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _within(part: Network, whole: Network) -> bool:
    return part.version == whole.version and whole.prefixlen <= part.prefixlen and part.overlaps(whole)
