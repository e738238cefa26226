"""One attempt on its way through a dispatcher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from arklex_api.base import JSON
from arklex_runtime.state.records import AttemptLog
from arklex_runtime.workers.base import TaskContext

Error = dict[str, Any]


class Grant(Enum):
    """A dispatcher's answer to a job: it may start, it has to wait, or it cannot run here now."""

    GRANTED = 1
    QUEUED = 2
    REFUSED = 3


class JobOwner(Protocol):
    """Who asked for the job. Called in the event loop only.

    A result that came from afar has ``job.receipt``: once what is told here is durable, the owner gives the job to the
    dispatcher's ``settle``, which lets the result go; before that it would be lost with this process.
    """

    def granted(self, job: Job) -> None:
        """A queued job has a slot now: launch it once its start is durable."""
        ...

    def finished(self, job: Job, output: JSON, size: int, error: Error | None) -> None:
        """The job ended; never called for a cancelled one. ``size`` is the output's JSON in bytes."""
        ...

    def lost(self, job: Job) -> None:
        """The process that ran the job died: charged to ``retry.lostLimit``."""
        ...

    def released(self, job: Job) -> None:
        """The process that ran the job gave it back at its shutdown: nothing is charged."""
        ...


@dataclass(slots=True, eq=False)
class Job:
    """One attempt: exactly one of ``worker`` and ``tool`` is set; ``graph`` is where the tool is defined.

    ``epoch`` says which owner of the run sent it, ``pod`` who runs it, as far as that is known. ``lane`` and ``handle`` are the
    dispatcher's own; ``receipt`` and ``log`` come with a result from afar.
    """

    owner: JobOwner
    key: str
    attempt: int
    worker: str | None
    tool: str | None
    graph: str
    inputs: JSON
    context: TaskContext
    timeout: float | None = None
    cancelled: bool = False
    launched: bool = False
    has_slot: bool = False
    lane: Any = None
    handle: Any = None
    refusal: Error | None = None
    receipt: Any = None
    log: AttemptLog | None = None
    epoch: int = 0
    pod: str = ""


class Dispatcher(Protocol):
    """What the driver of a run needs. Every method is called in the event loop.

    ``remote``: attempts outlive this process. Then a queued job is sent by ``durable``, once the batch that asked for it is;
    ``adopt`` takes what an earlier owner of the run sent, and ``abandon`` leaves jobs to the next one.
    """

    remote: bool

    def attach(self, namespace_of: Callable[[str], str | None]) -> None:
        """Begin; ``namespace_of`` is the namespace of a run that this process owns, None for any other run."""
        ...

    def acquire(self, job: Job) -> Grant:
        """Take a slot for ``job``, or queue it. A granted job is to be launched, or cancelled; ``job.refusal`` says why not."""
        ...

    def durable(self, job: Job) -> None:
        """The batch that asked for a queued job is durable."""
        ...

    def adopt(self, job: Job, *, started: bool) -> None:
        """Wait for a job that an earlier owner of its run sent, or was about to."""
        ...

    def launch(self, job: Job) -> None:
        """The job's start is durable: run it, or let it go on."""
        ...

    def settle(self, job: Job) -> None:
        """What the owner was last told of the job is durable."""
        ...

    def cancel(self, job: Job, reason: str | None = None) -> None:
        """Stop a job, or forget it; nothing of it is reported. ``reason`` Timeout speaks against the worker."""
        ...

    def abandon(self, job: Job) -> None:
        """This process does not own the job any more."""
        ...

    def over(self, run_id: str) -> None:
        """The run has ended: whatever still comes for it came for nothing."""
        ...

    async def aclose(self) -> None:
        """Stop; remote attempts go on."""
        ...
