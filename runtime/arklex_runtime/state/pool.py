"""The guide's DatabaseConnectionPool ("Connection Pooling"), over SQLAlchemy's QueuePool."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as Exhausted
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from arklex_runtime.errors import DatabaseUnavailable, Overloaded


class DatabaseConnectionPool:
    """At most ``pool_size`` + ``max_overflow`` connections; ``pool_size`` of them stay open when they are returned.

    ``connection_string`` is a URL, ``sqlite:///…`` or ``postgresql://…`` (psycopg). Connections are DBAPI's; one that the
    server has closed meanwhile is replaced before it is handed out. Safe from threads.
    """

    def __init__(self, connection_string: str, pool_size: int = 10, max_overflow: int = 20, *, timeout: float = 30.0) -> None:
        self.pool_size = pool_size
        self.max_overflow = max_overflow
        url, arguments = _target(connection_string)
        self._engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout=timeout,
            pool_pre_ping=True,
            connect_args=arguments,
        )
        self._kept = self.create_connection() if _in_memory(url) else None

    @property
    def active_connections(self) -> int:
        """How many connections are handed out."""
        pool = self._engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    def create_connection(self) -> Any:
        """Open a connection outside the pool; its caller closes it. Raises DatabaseUnavailable."""
        try:
            connection = self._engine.raw_connection()
            connection.detach()
            return connection
        except DBAPIError as error:
            raise DatabaseUnavailable("unreachable", str(error.orig)) from error

    def get_connection(self) -> PoolProxiedConnection:
        """Hand out a connection, waiting up to ``timeout`` seconds for one. Raises Overloaded, DatabaseUnavailable."""
        try:
            return self._engine.raw_connection()
        except Exhausted as error:
            raise Overloaded(f"all {self.pool_size + self.max_overflow} connections are in use") from error
        except DBAPIError as error:
            raise DatabaseUnavailable("unreachable", str(error.orig)) from error

    def return_connection(self, connection: PoolProxiedConnection) -> None:
        """Take a connection back, rolling back what it has not committed."""
        connection.close()

    @contextlib.contextmanager
    def connection(self) -> Iterator[PoolProxiedConnection]:
        """Lend a connection for a block."""
        connection = self.get_connection()
        try:
            yield connection
        finally:
            self.return_connection(connection)

    def close(self) -> None:
        """Close the connections that are not handed out."""
        self._engine.dispose()
        if self._kept is not None:
            self._kept.close()


def _in_memory(url: URL) -> bool:
    return url.query.get("mode") == "memory"


def _target(connection_string: str) -> tuple[URL, dict[str, Any]]:
    """Return SQLAlchemy's URL; a database in memory is one for the whole pool."""
    url = make_url(connection_string)
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg"), {"connect_timeout": 10}
    if url.database in (None, "", ":memory:"):
        shared = {"mode": "memory", "cache": "shared", "uri": "true"}
        url = URL.create("sqlite", database=f"file:pool-{uuid.uuid4().hex}", query=shared)
    return url, {"check_same_thread": False, "timeout": 10}
