"""The guide's StateManager ("State Management Flow"): sessions, by a cache above a database. Blocking, safe from threads."""

from __future__ import annotations

import copy
import threading
from typing import Any, Protocol

import orjson

from arklex_runtime.state import statements as sql
from arklex_runtime.state import steps
from arklex_runtime.state.cache import MemoryCache
from arklex_runtime.state.statements import Steps
from arklex_runtime.state.sync import SyncDatabase, sync_database

MAX_AGE = 1.0
"""Seconds for which a session is believed without asking the database: another process may have changed it."""


class StateCache(Protocol):
    """What the manager needs of a cache; MemoryCache, RedisCache and MultiLevelCache do."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default."""

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep a value for ``ttl`` seconds."""


class StateDatabase(Protocol):
    """What it needs of a database."""

    def get_state(self, session_id: str) -> dict[str, Any] | None:
        """Return a session, None if there is none."""

    def save_state(self, session_id: str, state: dict[str, Any]) -> None:
        """Replace a session."""

    def merge_state(self, session_id: str, updates: dict[str, Any]) -> dict[str, Any]:
        """Merge updates into a session atomically, return the result."""


class SQLiteDatabase:
    """The sessions of a journal's database, which runs with ``--session`` share; by default that of all commands.

    The name is the guide's; a PostgreSQL URL does as well. Raises DatabaseUnavailable.
    """

    def __init__(self, url: str | None = None) -> None:
        self._database: SyncDatabase = sync_database(url)

    def get_state(self, session_id: str) -> dict[str, Any] | None:
        """Return a session, None if there is none."""
        rows = self._database.run(lambda: steps.rows_of(sql.GET_SESSION, {"session_id": session_id}), write=False)
        return orjson.loads(bytes(rows[0][0])) if rows else None

    def save_state(self, session_id: str, state: dict[str, Any]) -> None:
        """Replace a session."""
        params = {"session_id": session_id, "data": orjson.dumps(state)}
        self._database.run(lambda: self._replace(params))

    def merge_state(self, session_id: str, updates: dict[str, Any]) -> dict[str, Any]:
        """Merge updates into a session in one transaction, return the result (see ``sessions.merge``)."""
        dialect = self._database.dialect
        return self._database.run(lambda: steps.patch_session(dialect, session_id, [updates]))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @staticmethod
    def _replace(params: dict[str, Any]) -> Steps[None]:
        yield sql.ADD_SESSION, params
        yield sql.SET_SESSION, params


class StateManager:
    """State of sessions. Updates merge shallowly and atomically: null deletes a key, ``{"$increment": n}`` adds.

    (The guide's read, change and write loses updates of others.) What it returns is the caller's own copy.
    """

    def __init__(
        self, cache_backend: StateCache | None = None, db_backend: StateDatabase | None = None, *, max_age: float = MAX_AGE
    ) -> None:
        self.cache = cache_backend if cache_backend is not None else MemoryCache()
        self.database = db_backend if db_backend is not None else SQLiteDatabase()
        self._max_age = max_age
        self._lock = threading.Lock()

    def get_state(self, session_id: str) -> dict[str, Any] | None:
        """Return a session's state, None if it has none; a change by another process shows after ``max_age`` seconds."""
        state: dict[str, Any] | None = self.cache.get(f"state:{session_id}")
        if state is None:
            with self._lock:
                state = self.database.get_state(session_id)
                if state is not None:
                    self._keep(session_id, state)
        return copy.deepcopy(state)

    def update_state(self, session_id: str, updates: dict[str, Any]) -> dict[str, Any]:
        """Merge updates into a session's state, return the result."""
        with self._lock:
            state = self.database.merge_state(session_id, updates)
            self._keep(session_id, state)
        return copy.deepcopy(state)

    def _keep(self, session_id: str, state: dict[str, Any]) -> None:
        self.cache.set(f"state:{session_id}", state, self._max_age)
