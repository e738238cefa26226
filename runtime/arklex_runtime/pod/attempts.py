"""The attempts that a pod holds: from a claimed entry to the result that Redis has taken."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from arklex_api.base import JSON
from arklex_runtime.dispatch.jobs import Error, Grant, Job
from arklex_runtime.dispatch.local import LocalDispatcher
from arklex_runtime.dispatch.outcome import document, error_document
from arklex_runtime.dispatch.streams.link import Command, Line, together
from arklex_runtime.dispatch.streams.wire import GROUP, Attempt, JobMessage, Keys, ResultMessage
from arklex_runtime.errors import TaskError
from arklex_runtime.observability.logs import TaskLog
from arklex_runtime.pod.capture import Tail
from arklex_runtime.pod.kinds import Bench
from arklex_runtime.pod.metrics import PodMetrics
from arklex_runtime.pod.results import Results
from arklex_runtime.security.redaction import Redactor
from arklex_runtime.workers.base import TaskContext

CANCELS = 2000
"""Cancels that are remembered, for claims that arrive after them."""
log = logging.getLogger("arklex.pod")
_TASK_LOG = logging.getLogger("arklex.task")


class Held:
    """One attempt. ``over``: its handler has returned, or nobody waits for it; it is held until Redis has the result."""

    __slots__ = ("attempt", "began", "entry", "job", "over", "tail", "timer")

    def __init__(self, attempt: Attempt, entry: bytes, job: Job, began: float) -> None:
        self.attempt = attempt
        self.entry = entry
        self.job = job
        self.began = began
        self.tail = Tail()
        self.timer: asyncio.TimerHandle | None = None
        self.over = False


class Attempts:
    """Runs what is claimed, on the slots of one pod; the owner of its jobs. ``freed`` is called when a slot comes free."""

    def __init__(
        self,
        line: Line,
        keys: Keys,
        worker: str,
        who: tuple[str, str],
        slots: int,
        redactor: Callable[[], Redactor],
        metrics: PodMetrics,
        freed: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._line = line
        self._keys = keys
        self._worker = worker
        self._pod, self._node = who
        self._slots = slots
        self._redactor = redactor
        self._metrics = metrics
        self._freed = freed
        self._cancelled: OrderedDict[Attempt, None] = OrderedDict()
        self.held: dict[Attempt, Held] = {}
        self.tails: dict[int, Tail] = {}
        self.running = 0
        self._words: list[Command] = []
        self.bench: Bench
        self._results: Results[Held | bytes] = Results(line, keys.results, keys.jobs(worker), self._taken, self._wanted)
        self.local = LocalDispatcher(
            self._loop, lambda job: job.lane, lambda job: 0.0, lambda value: redactor().json(value), max_workers=slots
        )

    @property
    def free(self) -> int:
        """Slots that may be claimed for. Sync handlers that were given up keep their threads; as many again replace them."""
        free = self._slots - self.running
        threads = self.local.threads
        if threads.abandoned:
            limit = self._slots if threads.abandoned < self._slots else 2 * self._slots
            free = min(free, limit - threads.running)
        return max(0, free)

    def take(self, entry: bytes, fields: dict[bytes, bytes]) -> None:
        """Start what was claimed, in the loop's next turn; ``speak`` is to be called before that."""
        message = JobMessage.decode(fields.get(b"j", b""))
        attempt = message.attempt
        if attempt in self.held or attempt in self._cancelled:
            self.give_back(entry)
            return
        held = self.held[attempt] = Held(attempt, entry, self._job(message), self._loop.time())
        self._say(ResultMessage("started", attempt, self._pod, self._node))
        self.running += 1
        try:
            held.job.lane = self.bench.lane(message)
            held.job.context.tools = self.bench.tools(message)
            self._run(held)
        except Exception as error:
            if not isinstance(error, TaskError):
                log.exception("an attempt could not be started")
            self._over(held)
            self._conclude(held, None, 0, error_document(error))

    def _job(self, message: JobMessage) -> Job:
        run, key, number = message.attempt
        fields = {"run": run, "task": message.task, "attempt": number}
        context = TaskContext(
            run, message.task, message.action, number, message.idem, session=message.session,
            logger=TaskLog(_TASK_LOG, fields),
        )  # fmt: skip
        return Job(self, key, number, self._worker, message.tool, message.graph, message.inputs, context, message.timeout)

    def _run(self, held: Held) -> None:
        job = held.job
        self.tails[id(job.context)] = held.tail
        if job.timeout is not None:
            job.context.deadline = time.time() + job.timeout
            held.timer = self._loop.call_later(job.timeout, self._time_out, held)
        grant = self.local.acquire(job)
        if grant is Grant.GRANTED:
            self._loop.call_soon(self._launch, held)
        elif grant is Grant.REFUSED:
            self._over(held)
            self._conclude(held, None, 0, job.refusal)

    def _launch(self, held: Held) -> None:
        """In the loop's next turn: by then ``started`` is written."""
        if not held.over:
            self.local.launch(held.job)

    def say_again(self) -> None:
        """After a loss of the connection: what was said last may not have been heard."""
        for held in self.held.values():
            if not held.over:
                self._say(ResultMessage("started", held.attempt, self._pod, self._node))
        self.speak()

    def emptied(self, seconds: float) -> None:
        """Redis has lost its data: say what runs, and what ended in the last ``seconds``."""
        self.say_again()
        self._results.say_again(seconds)

    def granted(self, job: Job) -> None:
        """A thread came free."""
        self.local.launch(job)

    def finished(self, job: Job, output: JSON, size: int, error: Error | None) -> None:
        """A handler returned."""
        held = self.held.get(Attempt(job.context.run_id, job.key, job.attempt))
        if held is not None and held.job is job and not held.over:
            self._over(held)
            self._conclude(held, output, size, error)

    def lost(self, job: Job) -> None:
        """Never: what runs here dies with us."""
        raise AssertionError(job.key)

    released = lost

    def _time_out(self, held: Held) -> None:
        if not held.over:
            self.local.cancel(held.job, "Timeout")
            self._over(held)
            error = document("Timeout", f"the attempt took longer than {held.job.timeout:g}s")
            self._conclude(held, None, 0, error, "timeout")

    def cancel(self, attempt: Attempt) -> None:
        """Its owner does not want it any more."""
        self._cancelled[attempt] = None
        while len(self._cancelled) > CANCELS:
            self._cancelled.popitem(last=False)
        held = self.held.get(attempt)
        if held is not None and not held.over:
            self.local.cancel(held.job)
            self._over(held)
            self._metrics.ended("cancelled", self._loop.time() - held.began)
            del self.held[attempt]
            self.give_back(held.entry)

    def give_back(self, entry: bytes) -> None:
        """Remove an entry without a result: its owner sent it twice, or has taken it back."""
        self._line.send(("XACK", self._keys.jobs(self._worker), GROUP, entry), ("XDEL", self._keys.jobs(self._worker), entry))

    def refuse(self, entry: bytes, attempt: Attempt, why: str) -> None:
        """A job that this version cannot read: another pod may be newer."""
        error = document("Unavailable", f"pod {self._pod} cannot read the job: {why}")
        self._results.put(entry, entry, ResultMessage("finished", attempt, self._pod, self._node, error=error).encode())

    def release(self, entry: bytes, attempt: Attempt) -> None:
        """Give an attempt that has not started back to its owner."""
        self._results.put(entry, entry, ResultMessage("released", attempt, self._pod, self._node).encode())

    def release_all(self) -> int:
        """Give back what runs, at the end of a drain; how many those were."""
        running = [held for held in self.held.values() if not held.over]
        for held in running:
            self.local.cancel(held.job)
            self._over(held)
            self._metrics.ended("released", self._loop.time() - held.began)
            message = ResultMessage("released", held.attempt, self._pod, self._node, ran=True)
            self._results.put(held, held.entry, message.encode())
        return len(running)

    def _over(self, held: Held) -> None:
        held.over = True
        if held.timer is not None:
            held.timer.cancel()
        self.tails.pop(id(held.job.context), None)
        self.running -= 1
        self._freed()

    def _conclude(self, held: Held, output: JSON, size: int, error: Error | None, outcome: str | None = None) -> None:
        took = self._loop.time() - held.began
        self._metrics.ended(outcome or ("succeeded" if error is None else "failed"), took)
        logs = self._redactor().text(held.tail.text())
        message = ResultMessage("finished", held.attempt, self._pod, self._node, output, error, size, logs, round(took, 6))
        held.job.inputs = None
        self._results.put(held, held.entry, message.encode())

    def _say(self, message: ResultMessage) -> None:
        self._words.append(("XADD", self._keys.results, "*", "r", message.encode()))

    def speak(self) -> None:
        """Send what has begun."""
        words, self._words = self._words, []
        if words:
            self._line.send(*together(words))

    def _wanted(self, held: Held | bytes) -> bool:
        return isinstance(held, Held) and self.held.get(held.attempt) is held

    def _taken(self, held: Held | bytes) -> None:
        if isinstance(held, Held):
            self.held.pop(held.attempt, None)
            self._freed()
