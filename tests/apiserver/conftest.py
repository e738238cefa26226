"""Fixtures of the tests on a bare API server: a connection, and a namespace of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.apiserver.api import Api
from tests.controlplane import ControlPlane


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    """Return the administrator's connection."""
    connection = Api(control_plane.kubeconfig)
    yield connection
    connection.close()


@pytest.fixture
def namespace(api: Api) -> str:
    """Return the name of an empty namespace."""
    return api.namespace()
