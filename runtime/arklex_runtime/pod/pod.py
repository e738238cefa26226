"""The worker process: claims attempts as slots come free, says what came of them, beats, and drains when it is to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from importlib import metadata
from typing import Any

from arklex_runtime.dispatch.streams.link import Line, ReplyError
from arklex_runtime.dispatch.streams.wire import (
    GROUP,
    BadMessage,
    Cancel,
    Heartbeat,
    Keys,
    attempt_of,
    fields_of,
)
from arklex_runtime.pod.attempts import Attempts
from arklex_runtime.pod.kinds import Bench
from arklex_runtime.pod.metrics import PodMetrics
from arklex_runtime.pod.settings import SecretFolder, Settings
from arklex_runtime.pod.shared_tools import SharedTools
from arklex_runtime.scaling.memory import MemoryManager
from arklex_runtime.security.redaction import Redactor
from arklex_runtime.security.secrets import SecretResolver
from arklex_runtime.tools.sessions import HttpSessions
from arklex_runtime.workers.base import WorkerServices

BLOCK = 2.0
"""Seconds that a read waits on the server."""
FRESH = 5.0
"""Seconds for which the secrets' files are not looked at again for values to redact; they may be rotated."""
SWEPT = 1.0
"""Seconds that a runtime's sweep takes from a look at heartbeats to what it does about them, at the most."""
LAST = 5.0
"""Seconds that the end of a drain waits for Redis to take what is left."""

log = logging.getLogger("arklex.pod")


def _version() -> str:
    try:
        return metadata.version("arklex-operator")
    except metadata.PackageNotFoundError:
        return ""


class Pod:
    """One pod of a Worker. ``run`` returns when ``stop`` was called and everything is given back."""

    def __init__(self, settings: Settings, memory: MemoryManager | None = None) -> None:
        """Raises ManifestError where the worker cannot be made: its handler does not import, a secret is missing."""
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._keys = Keys(settings.namespace)
        self._jobs = self._keys.jobs(settings.name)
        spec = settings.worker.spec
        self.metrics = PodMetrics(settings.namespace, settings.name, spec.concurrency)
        self._secrets = SecretResolver(SecretFolder(settings.secrets), {})
        self._http = HttpSessions()
        self._line = Line(settings.address, f"{settings.pod}-results", on_up=self._connected)
        self._claims = Line(settings.address, f"{settings.pod}-claims", patience=BLOCK + 3)
        self._control = Line(settings.address, f"{settings.pod}-control", patience=BLOCK + 3)
        self._freed = asyncio.Event()
        self._beat_soon = asyncio.Event()
        who = (settings.pod, settings.node)
        self.attempts = Attempts(
            self._line, self._keys, settings.name, who, spec.concurrency, self._redactor, self.metrics, self._freed.set
        )
        services = WorkerServices(self._secrets, None, self._http)
        self.attempts.bench = Bench(
            settings.worker, services, self.attempts.tails, lambda graph: SharedTools(self._line, self._keys, graph)
        )
        self._known: frozenset[str] = frozenset()
        self._stale, self._given = 0.0, 0
        self._redact = Redactor()
        self._memory = memory or MemoryManager(also=(self.attempts.bench.clear_caches,))
        self._full = False
        self._joined = False
        self._stopping = asyncio.Event()
        self._version = _version()
        self._heard_to = b"0-0"
        self._beat = 0
        self._known_to_redis = False
        self._beaten = self._loop.time()
        self.metrics.watch(lambda: self.attempts.running, lambda: self._loop.time() - self._beaten, lambda: float(self._full))

    def _redactor(self) -> Redactor:
        """Of the values as the files had them a moment ago, and of all that were ever given."""
        now, given = self._loop.time(), len(self._secrets.values())
        if now >= self._stale or given != self._given:
            self._stale, self._given = now + FRESH, given
            known = self._known | self._secrets.all_values()
            if known != self._known:
                self._known, self._redact = known, Redactor(known)
        return self._redact

    def stop(self) -> None:
        """Begin to drain."""
        self._stopping.set()

    def healthy(self) -> str | None:
        """Why the pod should be started anew."""
        threads = self.attempts.local.threads
        return "every thread is held by a handler that does not return" if threads.stuck else None

    def ready(self) -> str | None:
        """Why the pod cannot be given work."""
        if self._stopping.is_set():
            return "draining"
        if not (self._line.up and self._claims.up):
            return "not connected to Redis"
        return None if self._joined else "has not joined the group of its queue"

    async def run(self) -> None:
        """Work until ``stop``, then drain."""
        tasks = [self._loop.create_task(self._forever(work)) for work in (self._claim, self._listen, self._pulse, self._watch)]
        try:
            await self._stopping.wait()
            tasks[0].cancel()
            await self._drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._close()

    async def _forever(self, work: Any) -> None:
        """``work`` again and again, whatever happens to it."""
        while True:
            try:
                await work()
            except ConnectionError:
                await asyncio.sleep(0.05)
            except Exception:
                log.exception("a part of the worker failed: going on")
                await asyncio.sleep(1)

    async def _claim(self) -> None:
        """Take what there is room for. The first read does not wait: the pod is ready once it is answered."""
        await self._claims.ready()
        while self._full or not self.attempts.free:
            self._freed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._freed.wait()
        block = ("BLOCK", int(BLOCK * 1000)) if self._joined else ()
        (reply,) = await self._claims.send(
            ("XREADGROUP", "GROUP", GROUP, self._settings.pod, "COUNT", self.attempts.free, *block, "STREAMS", self._jobs, ">")
        )
        if isinstance(reply, ReplyError):
            await self._refused(str(reply))
            return
        self._joined = True
        claimed = [claim for _, entries in reply or () for claim in entries]
        if claimed and self._loop.time() - self._beaten > self._settings.lease:
            mine = await self._still_mine()
            claimed = [claim for claim in claimed if claim[0] in mine]
        try:
            for entry, fields in claimed:
                self._take(entry, fields)
        finally:
            self.attempts.speak()
            self._line.flush()

    async def _still_mine(self) -> set[bytes]:
        """After a silence of a lease: the entries that nobody took from us meanwhile, since we were thought dead.

        Redis gives work to a blocked read of a stopped process too. The beat comes first, and time for whoever has judged us
        by an older one to have done so.
        """
        await self._write_beat()
        await asyncio.sleep(SWEPT)
        (reply,) = await self._line.send(("XPENDING", self._jobs, GROUP, "-", "+", 1000, self._settings.pod))
        return set() if isinstance(reply, ReplyError) else {entry for entry, *_ in reply or ()}

    async def _refused(self, error: str) -> None:
        """A missing group is made at the stream's end: what is in the stream may run elsewhere, its owner looks after it."""
        if error.startswith("UNBLOCKED"):
            return
        if not error.startswith("NOGROUP"):
            log.error("Redis does not let work be claimed", extra={"error": error})
            await asyncio.sleep(1)
            return
        (made,) = await self._claims.send(("XGROUP", "CREATE", self._jobs, GROUP, "$", "MKSTREAM"))
        if isinstance(made, ReplyError) and not str(made).startswith("BUSYGROUP"):
            log.error("the group of the queue cannot be made", extra={"error": str(made)})
            await asyncio.sleep(1)

    def _take(self, entry: bytes, fields: list[bytes] | None) -> None:
        if fields is None:
            return
        found = fields_of(fields)
        try:
            self.attempts.take(entry, found)
        except BadMessage as error:
            log.error("a job that cannot be read", extra={"entry": entry.decode(), "error": str(error)})
            try:
                self.attempts.refuse(entry, attempt_of(found.get(b"k", b"")), str(error))
            except BadMessage:
                self.attempts.give_back(entry)

    async def _listen(self) -> None:
        """Read cancels, those of the time before us too: claims may come after them."""
        await self._control.ready()
        key = self._keys.control(self._settings.name)
        (reply,) = await self._control.send(
            ("XREAD", "COUNT", 1000, "BLOCK", int(BLOCK * 1000), "STREAMS", key, self._heard_to)
        )
        if isinstance(reply, ReplyError):
            log.error("Redis does not let cancels be read", extra={"error": str(reply)})
            await asyncio.sleep(1)
            return
        for _, entries in reply or ():
            self._heard_to = entries[-1][0]
            for _, fields in entries:
                with contextlib.suppress(BadMessage):
                    self.attempts.cancel(Cancel.decode(fields_of(fields).get(b"c", b"")).attempt)

    def _connected(self) -> None:
        self._beat_soon.set()
        self.attempts.say_again()

    async def _pulse(self) -> None:
        """Beat every quarter of a lease, and at once after a connection was made."""
        lease = self._settings.lease
        while True:
            self._beat_soon.clear()
            with contextlib.suppress(ConnectionError):
                await self._write_beat()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(lease / 4):
                    await self._beat_soon.wait()

    async def _write_beat(self) -> None:
        self._beat += 1
        beat = Heartbeat(self._beat, self._settings.worker.spec.concurrency, list(self.attempts.held), self._version)
        command = ("HSET", self._keys.pods(self._settings.name), self._settings.pod, beat.encode())
        (reply,) = await self._line.send(command)
        if isinstance(reply, ReplyError):
            log.error("Redis does not take the heartbeat", extra={"error": str(reply)})
            return
        if reply == 1 and self._known_to_redis:
            log.warning("Redis has lost its data: saying again what runs and what has ended lately")
            self.attempts.emptied(self._settings.lease)
        self._known_to_redis = True
        silence, self._beaten = self._loop.time() - self._beaten, self._loop.time()
        if silence > self._settings.lease:
            words = "was silent for longer than a lease: attempts may have been given to others"
            log.warning(words, extra={"seconds": round(silence, 3)})

    async def _watch(self) -> None:
        """Shed caches when memory is short, then claim nothing until it is not: a read that waits is taken back too."""
        while True:
            self._memory.check_memory_usage()
            full = self._memory.memory_monitor.get_memory_usage() > self._memory.max_memory_usage
            if full != self._full:
                self._full = full
                log.warning("memory is short: claiming nothing more" if full else "memory has come free: claiming again")
                if full:
                    self._claims.renew()
                self._freed.set()
            await asyncio.sleep(1)

    async def _drain(self) -> None:
        seconds = self._settings.worker.spec.drain_seconds
        log.info("draining", extra={"seconds": seconds, "held": self.attempts.running})
        held = self.attempts.running
        await self._claims.aclose()
        given_back = await self._give_back_claims()
        await self._until(lambda: not self.attempts.running, seconds)
        released = self.attempts.release_all()
        await self._until(lambda: not self.attempts.held, LAST)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(LAST):
                await self._line.send(
                    ("HDEL", self._keys.pods(self._settings.name), self._settings.pod),
                    ("XGROUP", "DELCONSUMER", self._jobs, GROUP, self._settings.pod),
                )
        log.info(
            "drained",
            extra={
                "finished": held - released,
                "released": released,
                "unstarted": given_back,
                "unsent": len(self.attempts.held),
            },
        )

    async def _give_back_claims(self) -> int:
        """A claim may have been on its way when claiming stopped: what is pending and not held has not started."""
        try:
            async with asyncio.timeout(LAST):
                (reply,) = await self._line.send(
                    ("XREADGROUP", "GROUP", GROUP, self._settings.pod, "COUNT", 1000, "STREAMS", self._jobs, "0")
                )
        except (ConnectionError, TimeoutError):
            return 0
        mine = {held.entry for held in self.attempts.held.values()}
        count = 0
        for _, entries in () if isinstance(reply, ReplyError) else reply or ():
            for entry, fields in entries:
                if entry not in mine and fields:
                    with contextlib.suppress(BadMessage):
                        self.attempts.release(entry, attempt_of(fields_of(fields).get(b"k", b"")))
                        count += 1
        return count

    async def _until(self, done: Any, seconds: float) -> None:
        end = self._loop.time() + seconds
        while not done() and (left := end - self._loop.time()) > 0:
            self._freed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._freed.wait()

    async def _close(self) -> None:
        closers: list[Coroutine[Any, Any, None]] = [
            self.attempts.local.aclose(), self.attempts.bench.aclose(), self._http.aclose(),
            self._claims.aclose(), self._control.aclose(), self._line.aclose(),
        ]  # fmt: skip
        await asyncio.gather(*closers, return_exceptions=True)
