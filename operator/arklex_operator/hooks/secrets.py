"""Passwords nobody gave: made once, in a hook, because a template would make new ones each time it is rendered."""

from __future__ import annotations

import base64
import secrets

from arklex_operator.hooks.api import Api, ApiRefused, Object

MANAGED_BY = "arklex-hooks"
_BYTES = 32
"""Of randomness; 43 characters of letters, digits, - and _."""


async def ensure(api: Api, namespace: str, instance: str, name: str, key: str) -> bool:
    """See that Secret ``name`` has a value under ``key``; return whether it had to be made. An existing value stays."""
    value = base64.b64encode(secrets.token_urlsafe(_BYTES).encode()).decode()
    path = f"/api/v1/namespaces/{namespace}/secrets"
    try:
        await api.call("POST", path, _secret(namespace, instance, name, {key: value}))
    except ApiRefused as error:
        if error.status != 409:
            raise
    else:
        return True
    found = await api.call("GET", f"{path}/{name}")
    if (found.get("data") or {}).get(key):
        return False
    version = found["metadata"]["resourceVersion"]
    await api.merge(f"{path}/{name}", {"metadata": {"resourceVersion": version}, "data": {key: value}})
    return True


def _secret(namespace: str, instance: str, name: str, data: dict[str, str]) -> Object:
    labels = {
        "app.kubernetes.io/name": "arklex",
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/managed-by": MANAGED_BY,
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
