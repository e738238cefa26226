"""The guide's caches, state manager and connection pool, over real servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from arklex_runtime.errors import DatabaseUnavailable, Overloaded
from arklex_runtime.state.cache import Cache, DatabaseCache, MemoryCache, RedisCache
from arklex_runtime.state.journal import open_journal
from arklex_runtime.state.levels import MultiLevelCache
from arklex_runtime.state.manager import SQLiteDatabase, StateManager
from arklex_runtime.state.pool import DatabaseConnectionPool
from arklex_runtime.state.records import CachePut
from arklex_runtime.state.results import ResultCache
from tests.journals import accept, submit
from tests.services import free_port, redis_server

FALSY: list[Any] = [0, "", False, None, [], {}, 0.0]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis), "sqlite", "postgresql", "levels"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    made: list[Any] = []
    if request.param == "memory":
        made.append(MemoryCache())
    if request.param in ("redis", "levels"):
        made.append(RedisCache(request.getfixturevalue("redis_url")))
    if request.param in ("sqlite", "levels"):
        made.append(DatabaseCache(str(tmp_path / "cache.db")))
    if request.param == "postgresql":
        made.append(DatabaseCache(request.getfixturevalue("postgres_url")))
    yield MultiLevelCache(MemoryCache(), *made) if len(made) > 1 else made[0]
    for level in made:
        if not isinstance(level, MemoryCache):
            level.close()


@pytest.mark.parametrize("value", [*FALSY, {"a": [1, "ü"]}])
def test_every_value_is_a_hit(cache: Cache, value: Any) -> None:
    missing = object()
    assert cache.get("key", missing) is missing
    cache.set("key", value)
    assert cache.get("key", missing) == value
    cache.delete("key")
    assert cache.get("key", missing) is missing


def test_clear_forgets_all(cache: Cache) -> None:
    for index in range(20):
        cache.set(f"key{index}", index)
    cache.clear()
    assert [cache.get(f"key{index}") for index in range(20)] == [None] * 20


def test_a_value_expires(cache: Cache) -> None:
    cache.set("short", 1, 0.0)
    cache.set("long", 1, 60)
    assert (cache.get("short"), cache.get("long")) == (None, 1)
    cache.set("long", 2)
    assert cache.get("long") == 2


def test_threads_share_a_cache(cache: Cache) -> None:
    def use(index: int) -> Any:
        cache.set(f"key{index}", index)
        return cache.get(f"key{index}")

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(50))) == list(range(50))


@pytest.mark.redis
def test_what_is_found_below_is_kept_above_for_the_time_it_has_left(redis_url: str, tmp_path: Path) -> None:
    now = [1000.0]
    memory, below = MemoryCache(now=lambda: now[0]), RedisCache(redis_url, now=lambda: now[0])
    slow = DatabaseCache(str(tmp_path / "c.db"), now=lambda: now[0])
    cache = MultiLevelCache(memory, below, slow, now=lambda: now[0])
    slow.set("key", 0, 30)
    assert cache.get("key", "missing") == 0
    assert below.get("key", "missing") == 0
    entry = memory.entry("key")
    assert entry is not None
    assert entry.expires_at == pytest.approx(1030.0)
    now[0] = 1030.0
    assert memory.get("key", "missing") == "missing"
    below.close()
    slow.close()


def test_a_level_that_is_away_is_skipped_and_never_read_stale(tmp_path: Path) -> None:
    now = [0.0]
    with redis_server() as server:
        memory, slow = MemoryCache(), DatabaseCache(str(tmp_path / "c.db"))
        below = RedisCache(server.url)
        cache = MultiLevelCache(memory, below, slow, now=lambda: now[0])
        cache.set("key", "old")
        cache.set("gone", "old")
        server.stop()
        cache.set("key", "new")
        cache.delete("gone")
        assert cache.get("key") == "new"
        server.start()
        other = RedisCache(server.url)
        other.set("key", "old")
        other.set("gone", "old")
        memory.clear()
        now[0] += 60
        assert (cache.get("key"), cache.get("gone")) == ("new", None)
        cache.set("gone", "again")
        assert other.get("gone") == "again"
        for client in (other, below, slow):
            client.close()


def test_no_level_at_all_is_an_error() -> None:
    nobody = [RedisCache(f"redis://127.0.0.1:{free_port()}/0") for _ in range(3)]
    cache = MultiLevelCache(*nobody)
    assert cache.get("key", "missing") == "missing"
    with pytest.raises(DatabaseUnavailable):
        cache.set("key", 1)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "state.db") if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


def test_state_is_merged_and_survives(state_url: str) -> None:
    database = SQLiteDatabase(state_url)
    manager = StateManager(db_backend=database)
    assert manager.get_state("s") is None
    assert manager.update_state("s", {"a": 0, "b": {"x": 1}}) == {"a": 0, "b": {"x": 1}}
    manager.update_state("s", {"b": None, "c": ""})
    state = manager.get_state("s")
    assert state == {"a": 0, "c": ""}
    state["a"] = "mine"
    assert manager.get_state("s") == {"a": 0, "c": ""}
    assert StateManager(db_backend=database).get_state("s") == {"a": 0, "c": ""}
    database.save_state("s", {})
    assert StateManager(db_backend=database).get_state("s") == {}
    database.close()


def test_updates_from_threads_and_managers_lose_nothing(state_url: str) -> None:
    databases = [SQLiteDatabase(state_url) for _ in range(3)]
    managers = [StateManager(db_backend=database) for database in databases]

    def update(index: int) -> None:
        managers[index % 3].update_state("s", {"n": {"$increment": 1}, f"k{index}": 1})

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(update, range(90)))
    state = StateManager(db_backend=databases[0]).get_state("s")
    assert state is not None
    assert state.pop("n") == 90
    assert len(state) == 90
    for database in databases:
        database.close()


async def test_state_is_the_session_of_runs(state_url: str) -> None:
    journal = await open_journal(state_url)
    await submit(journal, accept("r", session_id="s", session_patches=[{"a": 1}]))
    database = SQLiteDatabase(state_url)
    assert await asyncio.to_thread(database.get_state, "s") == {"a": 1}
    database.close()
    await journal.close()


def test_another_managers_update_shows_after_a_while(tmp_path: Path) -> None:
    now = [0.0]
    databases = [SQLiteDatabase(str(tmp_path / "state.db")) for _ in range(2)]
    reader = StateManager(MemoryCache(now=lambda: now[0]), databases[0], max_age=1.0)
    reader.update_state("s", {"a": 1})
    StateManager(db_backend=databases[1]).update_state("s", {"a": 2})
    assert reader.get_state("s") == {"a": 1}
    now[0] = 1.0
    assert reader.get_state("s") == {"a": 2}
    for database in databases:
        database.close()


@pytest.mark.parametrize("kind", ["file", "memory", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def test_the_pool_bounds_and_reuses_connections(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    urls: dict[str, Callable[[], str]] = {
        "file": lambda: f"sqlite:///{tmp_path / 'pool.db'}",
        "memory": lambda: "sqlite://",
        "postgresql": lambda: str(request.getfixturevalue("postgres_url")),
    }
    pool = DatabaseConnectionPool(urls[kind](), pool_size=1, max_overflow=1, timeout=0.1)
    first, second = pool.get_connection(), pool.get_connection()
    assert pool.active_connections == 2
    with pytest.raises(Overloaded, match="all 2 connections"):
        pool.get_connection()
    cursor = first.cursor()
    cursor.execute("CREATE TABLE t (a INTEGER)")
    first.commit()
    cursor.execute("INSERT INTO t VALUES (1)")
    pool.return_connection(first)
    pool.return_connection(second)
    with pool.connection() as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT COUNT(*) FROM t")
        assert cursor.fetchone() == (0,), "what was not committed is rolled back"
    assert pool.active_connections == 0
    pool.close()


def test_a_waiting_thread_gets_the_connection_that_comes_back(tmp_path: Path) -> None:
    pool = DatabaseConnectionPool(f"sqlite:///{tmp_path / 'pool.db'}", pool_size=1, max_overflow=0)
    held = pool.get_connection()
    got = threading.Event()

    def wait() -> None:
        with pool.connection():
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.is_set()
    pool.return_connection(held)
    thread.join(10)
    assert got.is_set()
    pool.close()


async def test_results_come_from_the_nearest_level(tmp_path: Path) -> None:
    journal = await open_journal(str(tmp_path / "journal.db"))
    await submit(journal, accept("r", cache=[CachePut("k", b"", 100.0)]))
    cache = ResultCache(max_bytes=10)
    assert await cache.get("k", 99.0, journal) == b""
    assert await cache.get("k", 99.0) == b""
    assert await cache.get("k", 100.0, journal) is None
    cache.put("k2", b"12345678", 100.0)
    assert (await cache.get("k2", 0.0), cache.size) == (b"12345678", 10)
    cache.put("k3", b"123456789", 100.0)
    assert await cache.get("k3", 0.0) is None
    cache.clear()
    assert (await cache.get("k2", 0.0), cache.size) == (None, 0)
    await journal.close()


@pytest.mark.redis
async def test_results_are_shared_through_redis(redis_url: str) -> None:
    redis = Redis.from_url(redis_url)
    first, second = ResultCache(redis=redis), ResultCache(redis=redis)
    first.put("k", b"\x00", 4e9)
    first.put("old", b"\x00", 1.0)
    await first.flushed()
    assert await second.get("k", 3.9e9) == b"\x00"
    assert await second.get("k", 4e9) is None
    assert await second.get("old", 2.0) is None
    await redis.aclose()


@pytest.mark.redis
async def test_a_redis_that_dies_is_a_miss_and_left_alone() -> None:
    clock = [0.0]
    with redis_server() as server:
        redis = Redis.from_url(server.url)
        cache = ResultCache(redis=redis, monotonic=lambda: clock[0])
        cache.put("k", b"v", 4e9)
        await cache.flushed()
        cache.clear()
        await asyncio.to_thread(server.stop)
        assert await cache.get("k", 0.0) is None
        await asyncio.to_thread(server.start)
        cache.put("k", b"v", 4e9)
        await cache.flushed()
        cache.clear()
        assert await cache.get("k", 0.0) is None, "resting"
        clock[0] = 60.0
        cache.put("k", b"v", 4e9)
        await cache.flushed()
        cache.clear()
        assert await cache.get("k", 0.0) == b"v"
        await redis.aclose()
