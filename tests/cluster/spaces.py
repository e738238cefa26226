"""Namespaces of the tests' own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.kube import Kube

HANDLERS = Path(__file__).parent / "probe.py"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


@contextmanager
def namespace(kube: Kube, stem: str) -> Iterator[Kube]:
    """Make a namespace that takes restricted pods alone, with the ConfigMap ``handlers``; it is deleted, unwaited for."""
    name = f"{stem[:40].rstrip('-')}-{uuid.uuid4().hex[:6]}"
    kube("create", "namespace", name)
    kube("label", "namespace", name, RESTRICTED)
    inside = kube.within(name)
    inside("create", "configmap", "handlers", f"--from-file=probe.py={HANDLERS}")
    yield inside
    kube("delete", "namespace", name, "--wait=false", "--ignore-not-found")
