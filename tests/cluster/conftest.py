"""Fixtures of the tests on a cluster: ``kube`` (as its admin), ``release`` (ours, installed by helm), ``space``."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kube import Kube

HANDLERS = Path(__file__).parent / "probe.py"


@pytest.fixture
def space(kube: Kube, request: pytest.FixtureRequest) -> Iterator[Kube]:
    """Return a namespace of the test's own, with the ConfigMap ``handlers``; it is deleted afterwards, unwaited for."""
    stem = request.node.originalname.removeprefix("test_").replace("_", "-")[:40].rstrip("-")
    name = f"{stem}-{uuid.uuid4().hex[:6]}"
    kube("create", "namespace", name)
    kube("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    inside = kube.within(name)
    inside("create", "configmap", "handlers", f"--from-file=probe.py={HANDLERS}")
    yield inside
    kube("delete", "namespace", name, "--wait=false")
