"""What a runtime writes to Redis: everything of one turn of the event loop goes out together, in one round trip."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from arklex_runtime.dispatch.streams.link import Address, Command, Line, Replies, ReplyError, replies_of, together
from arklex_runtime.dispatch.streams.mailbox import Mailbox, Posting, Stage
from arklex_runtime.dispatch.streams.wire import GROUP, Cancel, JobMessage

CONTROL_LENGTH = 1000
"""Cancels kept for pods to read: best effort, since late results are refused anyway."""
REFUSED_PAUSE = 0.5
"""Seconds before an attempt that Redis would not take (out of memory, read-only) is sent again."""

log = logging.getLogger("arklex.dispatch")


class Outbox:
    """Sends attempts, cancels and deletes. While Redis is away attempts and deletes wait; cancels are forgotten."""

    def __init__(self, address: Address, name: str, boxes: Callable[[], Iterable[Mailbox]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._boxes = boxes
        self._posts: list[Posting] = []
        self._commands: list[Command] = []
        self._drops: dict[str, list[bytes]] = {}
        self._scheduled = False
        self._dropped: Callable[[str, list[bytes]], None] = lambda key, entries: None
        self.line = Line(address, f"{name}-out", on_up=self._connected)

    def on_drop(self, call: Callable[[str, list[bytes]], None]) -> None:
        """``call`` hears of entries that have been deleted."""
        self._dropped = call

    def post(self, posting: Posting) -> None:
        """Send an attempt."""
        posting.stage = Stage.SENDING
        posting.absence = None
        self._posts.append(posting)
        self._schedule()

    def again(self, posting: Posting) -> None:
        """Send an attempt anew, under the same number; its old entry goes first."""
        if posting.entry is not None:
            self._remove(posting)
            posting.entry = None
        self.post(posting)

    def withdraw(self, posting: Posting, reason: str | None) -> None:
        """Take an attempt back, wherever it is, and tell the pod that may have it."""
        if posting.stage is Stage.SENDING and posting in self._posts:
            self._posts.remove(posting)
            return
        box = posting.box
        if posting.entry is not None:
            self._remove(posting)
        elif posting.stage is not Stage.SENDING:
            box.doomed.append(posting.identity)
        cancel = Cancel(posting.attempt, reason).encode()
        self._commands.append(("XADD", box.control, "MAXLEN", "~", CONTROL_LENGTH, "*", "c", cancel))
        self._schedule()

    def _remove(self, posting: Posting) -> None:
        if posting.entry is not None:
            self.delete(posting.box, [posting.entry])

    def delete(self, box: Mailbox, entries: list[bytes]) -> None:
        """Remove entries from a jobs stream and from whoever claimed them."""
        if entries:
            self._commands += [("XACK", box.jobs, GROUP, *entries), ("XDEL", box.jobs, *entries)]
            self._schedule()

    def drop(self, key: str, entry: bytes) -> None:
        """Remove a result."""
        self._drops.setdefault(key, []).append(entry)
        self._schedule()

    def regroup(self, box: Mailbox) -> None:
        """Its group is missing."""
        box.grouped = False
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _connected(self) -> None:
        for box in self._boxes():
            box.grouped = False
        self._schedule()

    def _flush(self) -> None:
        self._scheduled = False
        if not self.line.up:
            self._commands.clear()
            return
        commands: list[Command] = []
        for box in self._boxes():
            if not box.grouped:
                box.grouped = True
                commands.append(("XGROUP", "CREATE", box.jobs, GROUP, "$", "MKSTREAM"))
        commands += self._commands
        self._commands = []
        drops, self._drops = self._drops, {}
        commands += [("XDEL", key, *entries) for key, entries in drops.items()]
        first = len(commands)
        posts, self._posts = self._posts, []
        commands += together([("XADD", p.box.jobs, "*", "k", p.identity, "j", _message(p)) for p in posts])
        if commands:
            self.line.send(*commands).add_done_callback(partial(self._answered, posts, first, drops))

    def _answered(self, posts: list[Posting], first: int, drops: dict[str, list[bytes]], future: Replies) -> None:
        if future.cancelled() or future.exception() is not None:
            for posting in posts:
                if posting.stage is Stage.SENDING:
                    posting.stage = Stage.UNSURE
                elif posting.stage is Stage.OVER:
                    posting.box.doomed.append(posting.identity)
            for key, entries in drops.items():
                self._drops.setdefault(key, []).extend(entries)
            return
        replies = future.result()
        for key, entries in drops.items():
            self._dropped(key, entries)
        for posting, reply in zip(posts, replies_of(len(posts), replies[first:]), strict=True):
            self._sent(posting, reply)

    def _sent(self, posting: Posting, reply: Any) -> None:
        if isinstance(reply, ReplyError):
            log.warning("Redis did not take an attempt", extra={"worker": posting.box.worker, "error": str(reply)})
            self._loop.call_later(REFUSED_PAUSE, self._retry, posting)
            return
        posting.entry = reply
        if posting.stage is Stage.SENDING:
            posting.stage = Stage.SENT
        elif posting.stage is Stage.OVER:
            self._remove(posting)

    def _retry(self, posting: Posting) -> None:
        if posting.stage is Stage.SENDING:
            self.post(posting)

    async def aclose(self) -> None:
        """Send what is left, if Redis is there, and close."""
        self._flush()
        if self.line.up:
            await asyncio.wait([self.line.send(("PING",))], timeout=2)
        await self.line.aclose()


def _message(posting: Posting) -> bytes:
    job, route = posting.job, posting.route
    context = job.context
    return JobMessage(
        posting.attempt,
        context.task_name,
        job.graph,
        job.inputs,
        context.action,
        job.timeout,
        context.idempotency_key,
        context.session,
        job.tool,
        route.tools,
        job.epoch,
    ).encode()
