"""Fixtures that all tests share: real servers, one of each per test process, started when first asked for."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from tests.cluster.bed import build, programs
from tests.cluster.bed.programs import Module
from tests.controlplane import ControlPlane, control_plane
from tests.services import PostgresServer, RedisServer, postgres_server, redis_server

if TYPE_CHECKING:
    from tests.pods import Cluster


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


@pytest.fixture
def cluster(redis_url: str, tmp_path: Path) -> Iterator[Cluster]:
    """Return runtimes and worker processes over an empty Redis, none so far; those of the test end with it."""
    from tests.pods import Cluster  # which takes a while to import, and few tests need it

    found = Cluster(redis_url, tmp_path)
    try:
        yield found
    finally:
        found.close()


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


@pytest.fixture(name="module")
def tiny_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Return a module that builds in a moment, in a cache of the test's."""
    monkeypatch.setattr(programs, "MODULES", tmp_path)
    monkeypatch.setenv("ARKLEX_BED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ARKLEX_BED_BIN", raising=False)
    source = tmp_path / "tiny"
    (source / "hi").mkdir(parents=True)
    (source / "go.mod").write_text("module example.com/tiny\n\ngo 1.21\n")
    (source / "go.sum").write_text("")
    (source / "hi/main.go").write_text('package main\n\nfunc main() { println("hi") }\n')
    found = Module("tiny", {"hi": "./hi"}, 0.1)
    monkeypatch.setattr(programs, "ALL", [found])
    monkeypatch.setattr(build, "ALL", [found])
    return found
