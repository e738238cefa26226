"""A pipelined connection to Redis: commands of one turn of the loop go out in one write, answers come back in order.

redis.asyncio sends a command when somebody awaits its answer; here most commands are sent and never waited for (a pod's
``started``, the owner's XDEL), and hundreds of them in one turn. Parsing and packing are hiredis', addresses redis-py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import hiredis
from redis.asyncio.connection import parse_url

Command: TypeAlias = tuple[str | bytes | int, ...]
Replies: TypeAlias = "asyncio.Future[list[Any]]"
ReplyError = hiredis.ReplyError
"""An answer that is an error; it stands where the answer would."""
TOGETHER = 100
"""Entries that are added in one transaction: who waits for the stream then wakes once for all of them, not first for one."""

PATIENCE = 5.0
"""Seconds without an answer after which a connection counts as dead (a half-open one tells nobody): half a usual lease, so that
a pod is back before it is taken for dead."""

log = logging.getLogger("arklex.redis")


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is, and who we are there."""

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False

    @classmethod
    def of(cls, url: str, username: str | None = None, password: str | None = None) -> Address:
        """From ``redis[s]://[user:password@]host:port/db``; what is given beside it wins. Raises ValueError."""
        parts = parse_url(url)
        return cls(
            parts.get("host") or "localhost",
            int(parts.get("port") or 6379),
            int(parts.get("db") or 0),
            username or parts.get("username"),
            password or parts.get("password"),
            url.startswith("rediss:"),
        )


class Link(asyncio.Protocol):
    """One connection, until it is lost: then ``closed`` is resolved and everything unanswered fails with ConnectionError."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._reader = hiredis.Reader(replyError=_error)
        self._waiting: deque[tuple[Replies, int, list[Any]]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def open(cls, address: Address, name: str, patience: float = PATIENCE) -> Link:
        """Connect and log in as ``name``. Raises OSError (ConnectionError, TimeoutError), ReplyError for a refusal."""
        link = cls(patience)
        loop = link._loop
        async with asyncio.timeout(5):
            tls = ssl.create_default_context() if address.tls else None
            await loop.create_connection(lambda: link, address.host, address.port, ssl=tls)
            try:
                hello: list[Command] = []
                if address.password:
                    hello.append(("AUTH", *((address.username,) if address.username else ()), address.password))
                if address.db:
                    hello.append(("SELECT", address.db))
                hello.append(("CLIENT", "SETNAME", name))
                for reply in await link.send(*hello):
                    if isinstance(reply, ReplyError):
                        raise reply
            except BaseException:
                link.close()
                raise
        return link

    def send(self, *commands: Command) -> Replies:
        """Send; the future has one answer for each command, a ReplyError where Redis refused."""
        future: Replies = self._loop.create_future()
        if self.closed.done():
            return _failed(future, "the connection to Redis is lost")
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += [hiredis.pack_command(cast(Any, command)) for command in commands]
        if not self._waiting:
            self._heard = self._loop.time()
            if self._watch is None:
                self._watch = self._loop.call_later(self._patience, self._look)
        self._waiting.append((future, len(commands), []))
        return future

    def flush(self) -> None:
        """Hand what was sent to the socket now: it is written before anything that the loop does after this callback."""
        if self._out:
            self._flush()

    def close(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
        self._lose(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answers."""
        self._heard = self._loop.time()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except (hiredis.ProtocolError, IndexError):
            log.exception("Redis answered what it was not asked")
            self.close()

    def _take(self, reply: Any) -> None:
        future, count, replies = self._waiting[0]
        replies.append(reply)
        if len(replies) == count:
            self._waiting.popleft()
            if not future.done():
                future.set_result(replies)

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed."""
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if not self.closed.done():
            self.closed.set_result(None)
        waiting, self._waiting = self._waiting, deque()
        for future, _, _ in waiting:
            if not future.done():
                _failed(future, f"the connection to Redis is lost: {error or 'closed'}")

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def _look(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        left = self._heard + self._patience - self._loop.time()
        if left <= 0:
            log.warning("Redis does not answer: connecting anew", extra={"seconds": self._patience})
            self.close()
        else:
            self._watch = self._loop.call_later(left, self._look)


def _failed(future: Replies, why: str) -> Replies:
    """Nobody has to look at it: most commands are sent and never waited for."""
    future.set_exception(ConnectionError(why))
    future.exception()
    return future


def _error(text: str) -> ReplyError:
    return hiredis.ReplyError(text)


def together(additions: Sequence[Command]) -> list[Command]:
    """The commands that add entries, at most TOGETHER in one transaction; ``replies_of`` says what became of them."""
    found: list[Command] = []
    for start in range(0, len(additions), TOGETHER):
        group = additions[start : start + TOGETHER]
        found += [("MULTI",), *group, ("EXEC",)] if len(group) > 1 else group
    return found


def replies_of(count: int, replies: Sequence[Any]) -> list[Any]:
    """The answers to each of ``count`` commands that went through ``together``: an id, or a ReplyError for why not."""
    found: list[Any] = []
    at = 0
    while count:
        size = min(count, TOGETHER)
        if size == 1:
            found.append(replies[at])
            return found
        queued, done = replies[at + 1 : at + 1 + size], replies[at + 1 + size]
        found += [q if isinstance(q, ReplyError) else done for q in queued] if isinstance(done, ReplyError) else done
        at += size + 2
        count -= size
    return found


class Line:
    """A Link that is made anew, forever, whenever it is lost.

    ``on_up`` is called after each connection, ``on_down`` after each loss.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        *,
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._address = address
        self._name = name
        self._on_up = on_up
        self._on_down = on_down
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._closing = False
        self._renewing = False
        self._up = asyncio.Event()
        self._task = self._loop.create_task(self._keep())

    @property
    def up(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._link is not None

    async def ready(self) -> None:
        """Wait for a connection."""
        await self._up.wait()

    def send(self, *commands: Command) -> Replies:
        """As Link.send; fails at once with ConnectionError where there is no connection."""
        if self._link is not None:
            return self._link.send(*commands)
        return _failed(self._loop.create_future(), "there is no connection to Redis")

    def flush(self) -> None:
        """As Link.flush."""
        if self._link is not None:
            self._link.flush()

    def renew(self) -> None:
        """Take a new connection: what waits for an answer on this one is taken back, and fails with ConnectionError."""
        if self._link is not None:
            self._renewing = True
            self._link.close()

    async def aclose(self) -> None:
        """Close for good."""
        self._closing = True
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._link is not None:
            self._link.close()
            self._link = None

    async def _keep(self) -> None:
        delay = 0.05
        while not self._closing:
            try:
                link = await Link.open(self._address, self._name, self._patience)
            except (OSError, ReplyError) as error:
                log.warning("cannot connect to Redis", extra={"connection": self._name, "error": str(error)})
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(1.0, delay * 2)
                continue
            self._link, delay = link, 0.05
            self._up.set()
            if self._on_up is not None:
                self._on_up()
            try:
                await asyncio.shield(link.closed)
            finally:
                link.close()
            self._link = None
            self._up.clear()
            if not self._closing and not self._renewing:
                log.warning("the connection to Redis was lost", extra={"connection": self._name})
            self._renewing = False
            if self._on_down is not None:
                self._on_down()
