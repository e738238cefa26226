"""Which cluster the tests run on, as ``python -m tests.cluster`` tells them: the bed, or anybody's."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HELLO = "hello"
"""The image of examples/hello's handler; not every cluster has it."""
NEED_THE_BED = ["test_bed.py", "test_deaths.py", "test_scale.py"]
"""Tests that break the node itself or read the audit log; on a cluster of somebody's they are left out."""
UPGRADED = ("operator", "runtime", "worker-custom")
"""Images of which there is another one, named with ``-next``, on clusters that have it."""
HOW = "run python -m tests.cluster instead: it brings a cluster up and says where it is"


@dataclass(frozen=True)
class Target:
    """``address`` is where pods reach servers of the tests; ``images`` are references, by target of the Dockerfile."""

    kubeconfig: Path
    kubectl: str
    helm: str
    address: str
    images: dict[str, str]
    bed: bool

    def environment(self) -> dict[str, str]:
        """Return what passes it on to the tests."""
        return {
            "ARKLEX_TEST_KUBECONFIG": str(self.kubeconfig),
            "ARKLEX_TEST_KUBECTL": self.kubectl,
            "ARKLEX_TEST_HELM": self.helm,
            "ARKLEX_TEST_ADDRESS": self.address,
            "ARKLEX_TEST_IMAGES": json.dumps(self.images),
            "ARKLEX_TEST_BED": "1" if self.bed else "",
        }

    def image_values(self) -> dict[str, Any]:
        """Return the chart's values that name the images."""
        workers = {kind: _named(self.images[f"worker-{kind}"]) for kind in ("custom", "llm", "tool")}
        return {
            "images": {**{name: _named(self.images[name]) for name in ("operator", "runtime", "redis")}, "workers": workers}
        }

    def next_values(self) -> dict[str, Any]:
        """Return the values, over those, that name the images to upgrade to."""
        operator, runtime, custom = (_named(self.images[f"{name}-next"]) for name in UPGRADED)
        return {"images": {"operator": operator, "runtime": runtime, "workers": {"custom": custom}}}


def _named(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def target() -> Target:
    """Return the cluster that this process was told; fails if it was told none."""
    kubeconfig = os.environ.get("ARKLEX_TEST_KUBECONFIG")
    images = os.environ.get("ARKLEX_TEST_IMAGES")
    if not kubeconfig or not images:
        pytest.fail(f"no cluster: {HOW}", pytrace=False)
    return Target(
        Path(kubeconfig),
        os.environ.get("ARKLEX_TEST_KUBECTL", "kubectl"),
        os.environ.get("ARKLEX_TEST_HELM", "helm"),
        os.environ["ARKLEX_TEST_ADDRESS"],
        dict(json.loads(images)),
        bool(os.environ.get("ARKLEX_TEST_BED")),
    )
