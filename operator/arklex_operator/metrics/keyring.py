"""The serving certificate that all replicas share, in a Secret of our namespace: the first to write it wins."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.errors import ConflictError
from arklex_operator.metrics.certificates import LIFETIME, Identity, issue
from arklex_operator.metrics.options import MANAGER, Options


class Keyring:
    """Reads the certificate, makes the first, and the next when two thirds of its lifetime are over."""

    def __init__(
        self,
        api: Api,
        options: Options,
        *,
        lifetime: timedelta = LIFETIME,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._options, self._lifetime, self._now = api, options, lifetime, now
        self._last: Identity | None = None
        self._path = f"/api/v1/namespaces/{options.namespace}/secrets"

    async def current(self) -> Identity:
        """The certificate to serve with; made if there is none that lasts. Raises ApiError."""
        while True:
            found = await self._api.raw(f"{self._path}/{self._options.secret}")
            identity = _read(found) if found else None
            if identity is not None and identity.usable(self._options.hosts, self._now(), self._lifetime):
                self._last = identity
                return identity
            made = issue(self._options.hosts, self._now(), before=self._last or identity, lifetime=self._lifetime)
            if await self._write(made, found):
                self._last = made
                return made

    async def _write(self, identity: Identity, found: Mapping[str, Any] | None) -> bool:
        """Whether it is ours that was stored: False when another replica was first."""
        secret = _secret(self._options.secret, identity)
        try:
            if found is None:
                await self._api.call("POST", self._path, MANAGER, secret)
            else:
                secret["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
                secret["type"] = found["type"]
                await self._api.call("PUT", f"{self._path}/{self._options.secret}", MANAGER, secret)
        except ConflictError:
            return False
        return True


def _secret(name: str, identity: Identity) -> dict[str, Any]:
    data = {"ca.crt": identity.bundle, "tls.crt": identity.certificate, "tls.key": identity.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "arklex-metrics"}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def _read(secret: Mapping[str, Any]) -> Identity:
    data = secret.get("data") or {}
    bundle, certificate, key = (
        base64.b64decode(data.get(name, "")).decode(errors="replace") for name in ("ca.crt", "tls.crt", "tls.key")
    )
    return Identity(bundle, certificate, key)
