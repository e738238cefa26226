"""What a runtime hears from pods: one loop reads the results streams of all namespaces, and never dies.

An entry is deleted once the owner of its run has committed it. Entries of other owners' runs are left to them; what nobody
waits for any more is refused, counted and deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Protocol

from prometheus_client import Counter

from arklex_runtime.dispatch.streams.link import Address, Command, Line, ReplyError
from arklex_runtime.dispatch.streams.mailbox import Posting
from arklex_runtime.dispatch.streams.outbox import Outbox
from arklex_runtime.dispatch.streams.wire import Attempt, BadMessage, Keys, NewerMessage, ResultMessage, field_of

BLOCK = 2.0
"""Seconds that a read waits on the server."""
COUNT = 500

REFUSED = Counter("arklex_results_refused_total", "Results that came for nothing: late, foreign or unreadable.", ["reason"])
for _reason in ("late", "foreign", "unreadable", "newer"):
    REFUSED.labels(_reason)

log = logging.getLogger("arklex.dispatch")


class Receiver(Protocol):
    """Who is told."""

    def outstanding(self, keys: Keys, attempt: Attempt) -> Posting | None:
        """The attempt, if it is waited for."""
        ...

    def has_ended(self, run_id: str) -> bool:
        """Whether a run ended here: nobody waits for its attempts any more."""
        ...

    def started(self, posting: Posting, entry: bytes) -> None:
        """A pod runs it."""
        ...

    def finished(self, posting: Posting, message: ResultMessage, entry: bytes) -> None:
        """It ended."""
        ...

    def released(self, posting: Posting, message: ResultMessage, entry: bytes) -> None:
        """It was given back."""
        ...


class Inbox:
    """Reads results for ``receiver``; ``namespace_of`` is the namespace of a run that is owned here."""

    def __init__(
        self, address: Address, name: str, receiver: Receiver, namespace_of: Callable[[str], str | None], outbox: Outbox
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        self._namespace_of = namespace_of
        self._outbox = outbox
        outbox.on_drop(self._dropped)
        self._keys: dict[str, Keys] = {}
        self._read_to: dict[str, bytes] = {}
        self._taken: dict[tuple[str, bytes], str] = {}
        self._asked = asyncio.Event()
        self._client: int | None = None
        self._line = Line(address, f"{name}-in", on_down=self._forget_client, patience=BLOCK + 3)
        self._moved = asyncio.Event()
        self._task = self._loop.create_task(self._run())

    def listen(self, keys: Keys) -> None:
        """Read a namespace's results too, from the beginning."""
        self._keys[keys.results] = keys
        self.again(keys)

    def again(self, keys: Keys) -> None:
        """Read a namespace's results once more from the beginning: a run has a new owner."""
        self._read_to[keys.results] = b"0-0"
        if not self._asked.is_set():
            self._asked.set()
            self._wake()

    def release(self, run_id: str) -> None:
        """What was read for the run and is not committed counts as unread."""
        for place in [place for place, run in self._taken.items() if run == run_id]:
            del self._taken[place]

    def drop(self, keys: Keys, entry: bytes) -> None:
        """Delete a message."""
        self._taken.setdefault((keys.results, entry), "")
        self._outbox.drop(keys.results, entry)

    def _dropped(self, key: str, entries: list[bytes]) -> None:
        for entry in entries:
            self._taken.pop((key, entry), None)

    def oldest(self, keys: Keys) -> bytes | None:
        """The first message that was read and is not deleted yet."""
        mine = [entry for key, entry in self._taken if key == keys.results]
        return min(mine, key=order, default=None)

    def check(self, keys: Keys, ever: bytes | None) -> None:
        """Begin anew where the stream was emptied and counts from further back: the server's clock was set."""
        if ever is not None and order(ever) < order(self._read_to[keys.results]):
            self.again(keys)

    async def passed(self, keys: Keys, last: bytes | None, patience: float) -> bool:
        """Whether everything up to the message ``last``, which is there, has been read, within ``patience`` seconds."""
        if last is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while order(self._read_to[keys.results]) < order(last):
                    self._moved.clear()
                    await self._moved.wait()
                return True
        return False

    def _wake(self) -> None:
        """End the read that waits, until the reader has noticed: it may be on its way to the server."""
        if self._asked.is_set() and not self._task.done():
            if self._client is not None:
                self._outbox.line.send(("CLIENT", "UNBLOCK", self._client))
            self._loop.call_later(0.02, self._wake)

    def _forget_client(self) -> None:
        self._client = None

    async def _run(self) -> None:
        while True:
            try:
                await self._line.ready()
                if not self._keys:
                    await self._asked.wait()
                await self._read()
            except ConnectionError:
                await asyncio.sleep(0.05)
            except Exception:
                log.exception("reading results failed: trying again")
                await asyncio.sleep(1)

    async def _read(self) -> None:
        if self._client is None:
            self._client = (await self._line.send(("CLIENT", "ID")))[0]
        self._asked.clear()
        streams = list(self._keys)
        places = [self._read_to[key] for key in streams]
        command: Command = ("XREAD", "COUNT", COUNT, "BLOCK", int(BLOCK * 1000), "STREAMS", *streams, *places)
        (reply,) = await self._line.send(command)
        if isinstance(reply, ReplyError):
            log.warning("Redis does not let results be read", extra={"error": str(reply)})
            await asyncio.sleep(0.5)
            return
        for key, entries in reply or ():
            self._take(self._keys[key.decode()], entries, dict(zip(streams, places, strict=True)))
        self._moved.set()

    def _take(self, keys: Keys, entries: list[Any], places: dict[str, bytes]) -> None:
        for entry, fields in entries:
            try:
                self._hear(keys, entry, fields)
            except Exception:
                log.exception("a result could not be taken", extra={"entry": entry.decode()})
        if self._read_to[keys.results] == places[keys.results]:
            self._read_to[keys.results] = entries[-1][0]

    def _hear(self, keys: Keys, entry: bytes, fields: list[bytes] | None) -> None:
        if fields is None or (keys.results, entry) in self._taken:
            return
        try:
            message = ResultMessage.decode(field_of(fields, b"r"))
        except NewerMessage:
            REFUSED.labels("newer").inc()
            return
        except BadMessage as error:
            log.warning("an unreadable result", extra={"namespace": keys.namespace, "error": str(error)})
            self._refuse(keys, entry, "unreadable")
            return
        run = message.attempt.run
        namespace = self._namespace_of(run)
        if namespace is None:
            if self._receiver.has_ended(run):
                self._refuse(keys, entry, "late")
        elif namespace != keys.namespace:
            log.warning("a result for another namespace's run", extra={"namespace": keys.namespace, "pod": message.pod})
            self._refuse(keys, entry, "foreign")
        else:
            self._tell(keys, entry, message)

    def _tell(self, keys: Keys, entry: bytes, message: ResultMessage) -> None:
        posting = self._receiver.outstanding(keys, message.attempt)
        if posting is None:
            self._refuse(keys, entry, "late")
            return
        posting.job.pod = message.pod
        if message.kind == "started":
            if posting.started:
                self.drop(keys, entry)
            else:
                self._taken[keys.results, entry] = message.attempt.run
                self._receiver.started(posting, entry)
        else:
            self._taken[keys.results, entry] = message.attempt.run
            if message.kind == "finished":
                self._receiver.finished(posting, message, entry)
            else:
                self._receiver.released(posting, message, entry)

    def _refuse(self, keys: Keys, entry: bytes, reason: str) -> None:
        REFUSED.labels(reason).inc()
        self.drop(keys, entry)

    async def aclose(self) -> None:
        """Stop reading."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._line.aclose()


def order(entry: bytes) -> tuple[int, int]:
    """An entry's id as it sorts."""
    time, _, count = entry.partition(b"-")
    return int(time), int(count or 0)
