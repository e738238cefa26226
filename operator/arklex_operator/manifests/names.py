"""What the children of a Worker are called, and the labels that select its pods (docs/decisions/0006)."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from arklex_api.worker import Worker
from arklex_operator.manifests.kinds import WORKER, Object

MANAGER = "arklex-operator"
MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = f"{MANAGED_BY}={MANAGER}"
"""The label selector of everything that the operator makes."""

WORKER_LABEL = "arklex.ai/worker"
CONNECTION = "arklex-connection"
"""The Secret with a namespace's account at Redis."""

DIGEST = "arklex.ai/digest"
"""Annotation of every child: the digest of what was applied last."""

SPEC_DIGEST = "arklex.ai/spec-digest"
"""Annotation of the Deployment: the digest of the author's part in it, without what the operator's own settings add."""


def child_name(worker: str) -> str:
    """``<worker>-worker``, shortened with a hash past 63 characters."""
    name = f"{worker}-worker"
    if len(name) <= 63:
        return name
    return f"{worker[:47].rstrip('-')}-{hashlib.sha256(worker.encode()).hexdigest()[:8]}-worker"


def selector(worker: str) -> dict[str, str]:
    """The labels that select a Worker's pods."""
    return {
        "app.kubernetes.io/name": "arklex-worker",
        "app.kubernetes.io/instance": worker,
        WORKER_LABEL: worker,
    }


def labels(worker: str) -> dict[str, str]:
    """The labels of everything that is made for a Worker."""
    return {**selector(worker), MANAGED_BY: MANAGER}


def child_metadata(worker: Worker) -> Object:
    """Name, namespace, labels and owner of a Worker's child. The Worker must have a UID."""
    name = worker.metadata.name
    owner = {
        "apiVersion": WORKER.api_version,
        "kind": WORKER.name,
        "name": name,
        "uid": worker.metadata.uid or "",
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "name": child_name(name),
        "namespace": worker.metadata.namespace,
        "labels": labels(name),
        "ownerReferences": [owner],
    }


def digest(value: Any) -> str:
    """A digest of JSON, the same for the same content: 16 hexadecimal digits."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def owner_uid(value: Object) -> str | None:
    """The UID of the object that controls ``value``."""
    owners = value["metadata"].get("ownerReferences") or ()
    return next((owner.get("uid") for owner in owners if owner.get("controller")), None)
