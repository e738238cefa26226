"""An API server of these tests' own, with the chart's objects in it: its admission policies would disturb others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controlplane import ControlPlane
from tests.helm.rights import installed


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """Return a running API server with the default case applied and the namespaces of the cases, Pod Security enforced."""
    yield from installed()
