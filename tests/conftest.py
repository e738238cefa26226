"""Fixtures that all tests share: real servers, one of each per test process, started when first asked for."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.controlplane import ControlPlane, control_plane
from tests.services import PostgresServer, RedisServer, postgres_server, redis_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return a running PostgreSQL server; tests that stop it start one of their own."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """Return the URL of an empty database."""
    return postgres.database(f"t{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    """Return a running Redis server; tests that stop it start one of their own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def redis_url(redis_process: RedisServer) -> str:
    """Return the URL of an empty Redis."""
    with redis.Redis.from_url(redis_process.url) as client:
        client.flushall()
    return redis_process.url


@pytest.fixture(params=["normal", "full", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty journal: SQLite NORMAL, SQLite FULL, PostgreSQL."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'journal.db'}?synchronous={request.param.upper()}"


@pytest.fixture(scope="session", name="control_plane")
def running_control_plane() -> Iterator[ControlPlane]:
    """Return a running API server with the CRDs; tests that stop it, or need controllers, start one of their own."""
    with control_plane() as plane:
        yield plane
