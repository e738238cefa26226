"""Who asks: the API server's front proxy by its certificate, and for whom by its headers."""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arklex_operator.metrics.certificates import Identity

HPA_CONTROLLER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
CONFIG_MAP = "extension-apiserver-authentication"
"""Name of the ConfigMap in kube-system in which the API server says how to know it."""


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How the API server shows itself: the CA of its client certificate, allowed common names (all when empty), headers."""

    ca: str
    names: frozenset[str]
    user_headers: tuple[str, ...]


def read_front_proxy(config_map: Mapping[str, Any]) -> FrontProxy:
    """What the ConfigMap says. Raises ValueError when it names no CA: then nobody could be trusted."""
    data = config_map.get("data") or {}
    ca = data.get("requestheader-client-ca-file", "")
    if "BEGIN CERTIFICATE" not in ca:
        raise ValueError(
            f"ConfigMap kube-system/{CONFIG_MAP} has no requestheader-client-ca-file: "
            "start kube-apiserver with --requestheader-client-ca-file to use aggregated APIs"
        )
    names = json.loads(data.get("requestheader-allowed-names") or "[]")
    headers = json.loads(data.get("requestheader-username-headers") or '["X-Remote-User"]')
    return FrontProxy(ca, frozenset(names), tuple(headers))


def trusted(proxy: FrontProxy | None, certificate: Mapping[str, Any] | None) -> bool:
    """Whether a client certificate (``ssl.getpeercert()``), whose CA TLS has verified, is the front proxy's."""
    if proxy is None or not certificate:
        return False
    parts = (part for name in certificate.get("subject") or () for part in name)
    common = {value for key, value in parts if key == "commonName"}
    return not proxy.names or bool(common & proxy.names)


def user(proxy: FrontProxy | None, headers: Mapping[str, str]) -> str | None:
    """The user for whom the API server asks."""
    names = proxy.user_headers if proxy is not None else ()
    return next((headers[name] for name in names if headers.get(name)), None)


def may_read(name: str | None, more: Collection[str] = ()) -> bool:
    """Whether a user may see the load of any namespace's Workers: the HPA controller, and who was named besides."""
    return name == HPA_CONTROLLER or (name is not None and name in more)


def server_context(identity: Identity, proxy: FrontProxy) -> ssl.SSLContext:
    """TLS 1.2 or newer. A client certificate is asked for, and must be the front proxy's CA's if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as name:  # ssl reads keys from files only
        certificate, key = Path(name, "tls.crt"), Path(name, "tls.key")
        certificate.write_text(identity.certificate)
        key.touch(0o600)
        key.write_text(identity.key)
        context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata=proxy.ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context
