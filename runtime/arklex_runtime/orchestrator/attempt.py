"""An attempt on its way out: the job, and what its handler is told. Made for every attempt, so no dearer than it must be."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from arklex_api.base import JSON
from arklex_api.durations import seconds
from arklex_runtime.dispatch.jobs import Job
from arklex_runtime.engine.commands import Start
from arklex_runtime.observability.logs import TaskLog
from arklex_runtime.workers.base import TaskContext

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.attempts import Attempts
    from arklex_runtime.orchestrator.workbench import Workbench

_GENERATION = re.compile(r"@\d+/")


def path_of(key: str) -> str:
    """A unit's key as people name it: without the generations of retried sub-graphs."""
    return _GENERATION.sub("/", key) if "@" in key else key


def idempotency_key(run_id: str, key: str, stage: int) -> str:
    """The same for every attempt of a task or item, lost, retried or resumed; another for its fallback."""
    return hashlib.sha256(f"{run_id}/{path_of(key)}{'#fallback' if stage else ''}".encode()).hexdigest()[:32]


class AttemptContext(TaskContext):
    """A TaskContext whose key and logger are made when a handler asks for them; most do not."""

    __slots__ = ("_bench", "_key", "_stage")

    def __init__(
        self,
        run_id: str,
        task_name: str,
        action: str | None,
        attempt: int,
        key: str,
        stage: int,
        session: dict[str, JSON],
        bench: Workbench,
    ) -> None:
        self.run_id = run_id
        self.task_name = task_name
        self.action = action
        self.attempt = attempt
        self.deadline = None
        self.session = session
        self.tools = None
        self._key = key
        self._stage = stage
        self._bench = bench

    @property
    def idempotency_key(self) -> str:
        """See the function of this name."""
        return idempotency_key(self.run_id, self._key, self._stage)

    @idempotency_key.setter
    def idempotency_key(self, value: str) -> None:
        raise AttributeError("the idempotency key is made of the run and the task")

    def time_left(self, now: float | None = None) -> float | None:
        """Seconds until the deadline by the clock that set it, never negative; None without one."""
        return TaskContext.time_left(self, self._bench.clock() if now is None else now)

    @property
    def logger(self) -> TaskLog:
        """The attempt's logger."""
        return TaskLog(self._bench.log, {"run": self.run_id, "task": self.task_name, "attempt": self.attempt})

    @logger.setter
    def logger(self, value: Any) -> None:
        raise AttributeError("the logger is made of the attempt")


def job_of(driver: Attempts, command: Start) -> Job:
    """The job that ``command`` asks for, owned by ``driver``."""
    unit, bench = command.unit, driver.host.workbench
    task, graph = unit.task.node.task, unit.task.scope.graph
    timeout = seconds(task.timeout) if task.timeout else None
    name, session = path_of(unit.key), dict(unit.task.session)
    context = AttemptContext(driver.run_id, name, command.action, command.attempt, unit.key, unit.stage, session, bench)
    context.tools = bench.tools_of(driver.program, graph)
    job = Job(driver, unit.key, command.attempt, command.worker, command.tool, graph, command.inputs, context, timeout)
    job.epoch = driver.epoch
    return job
