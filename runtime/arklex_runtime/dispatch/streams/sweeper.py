"""Looks after what was sent: notices dead pods, vanished entries and a Redis that was emptied, and cleans up.

Every second it looks, in one piece of Lua, at the heartbeats of each Worker, at how far its group is, and at which message
was the last. What it then does is in ``liveness``: an attempt that nobody has started is sent again when nobody can have it,
a started one that no living pod holds is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from arklex_runtime.dispatch.streams.inbox import Inbox, order
from arklex_runtime.dispatch.streams.link import ReplyError
from arklex_runtime.dispatch.streams.mailbox import Mailbox, Posting, Stage
from arklex_runtime.dispatch.streams.outbox import Outbox
from arklex_runtime.dispatch.streams.scripts import FIND, LOOK
from arklex_runtime.dispatch.streams.wire import GROUP, BadMessage, Heartbeat, Keys

if TYPE_CHECKING:
    from arklex_runtime.dispatch.streams.dispatcher import StreamsDispatcher

CHECKED = 128
"""Entries of one Worker that one look asks for."""
DEAD_LEASES = 10
"""Leases after which a dead pod's heartbeat is removed."""
KEPT = 3600.0
"""Seconds that a message waits for its run's owner."""

log = logging.getLogger("arklex.dispatch")


class Sweeper:
    """Watches over ``dispatcher``'s mailboxes until it is closed."""

    def __init__(self, dispatcher: StreamsDispatcher, outbox: Outbox, inbox: Inbox) -> None:
        self._dispatcher = dispatcher
        self._outbox = outbox
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self.interval = min(1.0, dispatcher.lease / 5)
        self._idle: dict[Mailbox, float] = {}
        self._marks: dict[str, tuple[float, bytes]] = {}
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.interval)
            boxes = [box for box in self._dispatcher.boxes.values() if self._due(box)]
            for found in await asyncio.gather(*(self._sweep(box) for box in boxes), return_exceptions=True):
                if isinstance(found, Exception) and not isinstance(found, ConnectionError):
                    log.error("a sweep failed", exc_info=found)

    def _due(self, box: Mailbox) -> bool:
        """Every second with attempts outstanding, else four times a lease."""
        now = self._loop.time()
        if not (box.out or box.doomed) and now - self._idle.get(box, 0.0) < self._dispatcher.lease / 4:
            return False
        self._idle[box] = now
        return True

    async def _sweep(self, box: Mailbox) -> None:
        await self._find(box)
        asked = self._to_check(box)
        entries = [posting.entry for posting in asked if posting.entry is not None]
        (reply,) = await self._outbox.line.send(LOOK.call([box.jobs, box.pods_key, box.keys.results], GROUP, *entries))
        if isinstance(reply, ReplyError):
            log.warning("cannot look after a Worker", extra={"worker": box.worker, "error": str(reply)})
            return
        beats, delivered, newest, ever, last, there = reply
        box.pods.look(self._loop.time(), _beats(beats))
        if delivered is None:
            self._outbox.regroup(box)
        vanished = {posting for posting, exists in zip(asked, there, strict=True) if not exists}
        self._inbox.check(box.keys, ever)
        if await self._inbox.passed(box.keys, last, self.interval):
            self._judge(box, delivered, newest, vanished)
        await self._clean(box)
        self._trim(box.keys, ever)

    async def _find(self, box: Mailbox) -> None:
        """Look for the entries of attempts that may have been sent."""
        unsure = [posting for posting in box.out.values() if posting.stage is Stage.UNSURE]
        wanted = [posting for posting in unsure if not posting.started]
        doomed, box.doomed = box.doomed, []
        if wanted or doomed:
            call = FIND.call([box.jobs], *(posting.identity for posting in wanted), *doomed)
            try:
                (found,) = await self._outbox.line.send(call)
            except ConnectionError:
                found = None
            if not isinstance(found, list):
                box.doomed = doomed + box.doomed
                return
            for posting, entry in zip(wanted, found, strict=False):
                posting.entry = entry
            self._outbox.delete(box, [entry for entry in found[len(wanted) :] if entry is not None])
        for posting in unsure:
            if posting.stage is Stage.UNSURE:
                posting.stage = Stage.SENT
            elif posting.stage is Stage.OVER and posting.entry is not None:
                self._outbox.delete(box, [posting.entry])

    @staticmethod
    def _to_check(box: Mailbox) -> list[Posting]:
        """Some of the attempts that wait in the stream, others at each look."""
        waiting = [p for p in box.out.values() if p.stage is Stage.SENT and not p.started and p.entry is not None]
        if len(waiting) <= CHECKED:
            return waiting
        start = box.checked % len(waiting)
        box.checked = start + CHECKED
        return (waiting + waiting)[start : start + CHECKED]

    def _judge(self, box: Mailbox, delivered: bytes | None, newest: bytes | None, vanished: set[Posting]) -> None:
        reached = order(delivered) if delivered is not None else None
        end = order(newest) if newest is not None else (0, 0)
        gone: list[Posting] = []
        for posting in list(box.out.values()):
            if posting.stage is not Stage.SENT:
                continue
            entry = posting.entry
            if not posting.started and entry is not None and posting not in vanished and reached is not None:
                place = order(entry)
                if reached < place <= end:
                    posting.absence = None
                    continue
            verdict, posting.absence = box.pods.judge(posting.attempt, posting.absence)
            posting.job.pod = box.pods.holder(posting.attempt) or posting.job.pod
            if verdict == "gone":
                gone.append(posting)
            elif verdict == "held" and not posting.started:
                self._dispatcher.started(posting, None)  # the pod's own word for it was lost
        if gone:
            log.warning(
                "attempts that no pod holds",
                extra={
                    "worker": box.worker,
                    "lost": sum(posting.started for posting in gone),
                    "again": sum(not posting.started for posting in gone),
                },
            )
            self._dispatcher.gone(gone)

    async def _clean(self, box: Mailbox) -> None:
        """Forget pods that are long dead, with what they claimed for nobody."""
        dead = box.pods.dead_for(DEAD_LEASES * self._dispatcher.lease)
        if not dead:
            return
        idle = int(DEAD_LEASES * self._dispatcher.lease * 1000)
        for name in dead:
            call = ("XPENDING", box.jobs, GROUP, "IDLE", idle, "-", "+", 100, name)
            (pending,) = await self._outbox.line.send(call)
            mine = {posting.entry for posting in box.out.values()}
            rest = [row[0] for row in pending if row[0] not in mine] if isinstance(pending, list) else []
            self._outbox.delete(box, rest)
        await self._outbox.line.send(
            ("HDEL", box.pods_key, *dead), *(("XGROUP", "DELCONSUMER", box.jobs, GROUP, name) for name in dead)
        )
        box.pods.forget(dead)
        log.info("dead pods forgotten", extra={"worker": box.worker, "pods": dead})

    def _trim(self, keys: Keys, last: bytes | None) -> None:
        """Delete messages that have waited for an owner for an hour by our own clock."""
        now = self._loop.time()
        at, mark = self._marks.setdefault(keys.results, (now, last or b"0-0"))
        if now - at < KEPT:
            return
        kept = self._inbox.oldest(keys)
        if kept is None or order(mark) < order(kept):
            self._outbox.line.send(("XTRIM", keys.results, "MINID", mark))
        self._marks[keys.results] = (now, last or b"0-0")

    async def aclose(self) -> None:
        """Stop."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def _beats(flat: list[Any]) -> dict[str, Heartbeat]:
    found: dict[str, Heartbeat] = {}
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        try:
            found[name.decode()] = Heartbeat.decode(value)
        except (BadMessage, UnicodeDecodeError) as error:
            log.warning("an unreadable heartbeat", extra={"error": str(error)})
    return found
