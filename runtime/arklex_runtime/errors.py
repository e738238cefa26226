"""Everything the runtime raises on purpose.

::

    ArklexError
    ├── TaskError                   a task's attempt failed: what a worker or tool raises
    ├── NotFoundError
    │   ├── WorkerNotFoundError
    │   ├── ToolNotFoundError
    │   ├── GraphNotFoundError
    │   ├── RunNotFound
    │   └── ApprovalNotFound
    ├── ValidationError             a request, query or file that is refused
    ├── AuthenticationError         who are you?
    ├── AuthorizationError          you may not
    ├── RateLimitExceeded           ``retry_after`` seconds
    ├── Overloaded                  a bounded queue is full; ``retry_after`` seconds
    ├── ConflictError
    │   ├── RunOwned                another live process owns the run; ``pid``
    │   ├── RunFinished             the run is terminal: nothing to cancel, approve or resume
    │   ├── AlreadyDecided          a contrary decision of an approval that has one
    │   └── Fenced                  this owner lost the run: its commit was refused
    └── DatabaseUnavailable         ``cause``: locked, corrupt, newer, full, readonly, unreachable

Each class says whether trying again can help (``retryable``; None: the caller's policy decides), its reason for a
condition (``reason``, CamelCase), the slug of its RFC 9457 problem document (``problem_type``), that document's
``http_status`` and the exit code of the command line (2: invalid, nothing ran; 3: environment, resumable).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

DatabaseCause = Literal["locked", "corrupt", "newer", "full", "readonly", "unreachable"]


class ArklexError(Exception):
    """The root. ``str()`` is a sentence for people; the class attributes are for machines."""

    retryable: bool | None = False
    reason: str = "Failed"
    problem_type: ClassVar[str] = "internal-error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1


class TaskError(ArklexError):
    """An attempt of a task failed.

    ``type`` is one of semantics.md's (Timeout, Unavailable, RateLimited, InvalidInput, InvalidOutput, Denied, Cancelled,
    WorkerLost, Failed) or the worker's own; ``retryable`` None leaves the decision to the task's ``retry.errors``.
    """

    problem_type = "task-failed"

    def __init__(self, type: str, message: str, retryable: bool | None = None, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.retryable = retryable
        self.details = details
        self.reason = type

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.type, self.message, self.retryable, self.details)


class NotFoundError(ArklexError):
    """What was named does not exist, or is not for the caller to see."""

    reason = "NotFound"
    problem_type = "not-found"
    http_status = 404
    exit_code = 2


class WorkerNotFoundError(NotFoundError):
    """No Worker of that name or type."""

    reason = "WorkerNotFound"
    problem_type = "worker-not-found"


class ToolNotFoundError(NotFoundError):
    """No tool of that name."""

    reason = "ToolNotFound"
    problem_type = "tool-not-found"


class GraphNotFoundError(NotFoundError):
    """No TaskGraph of that name."""

    reason = "GraphNotFound"
    problem_type = "graph-not-found"


class RunNotFound(NotFoundError):
    """No run of that id in this journal."""

    reason = "RunNotFound"
    problem_type = "run-not-found"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id!r} does not exist")
        self.run_id = run_id

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run_id,)


class ApprovalNotFound(NotFoundError):
    """The run has no approval task of that path."""

    reason = "ApprovalNotFound"
    problem_type = "approval-not-found"


class ValidationError(ArklexError):
    """A request, query, input or file that is refused; nothing ran."""

    reason = "Invalid"
    problem_type = "invalid"
    http_status = 422
    exit_code = 2


class AuthenticationError(ArklexError):
    """Credentials are missing or wrong."""

    reason = "Unauthenticated"
    problem_type = "unauthenticated"
    http_status = 401
    exit_code = 2


class AuthorizationError(ArklexError):
    """The caller is known and may not do this."""

    reason = "Forbidden"
    problem_type = "forbidden"
    http_status = 403
    exit_code = 2


class RateLimitExceeded(ArklexError):
    """Too many requests; one will pass after ``retry_after`` seconds."""

    retryable = True
    reason = "RateLimited"
    problem_type = "rate-limited"
    http_status = 429

    def __init__(self, message: str = "rate limit exceeded", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.retry_after)


class Overloaded(ArklexError):
    """A bounded queue is full; try again after ``retry_after`` seconds."""

    retryable = True
    reason = "Overloaded"
    problem_type = "overloaded"
    http_status = 503
    exit_code = 3

    def __init__(self, message: str = "overloaded", retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.retry_after)


class ConflictError(ArklexError):
    """The thing is in a state that does not allow this."""

    reason = "Conflict"
    problem_type = "conflict"
    http_status = 409
    exit_code = 2


class RunOwned(ConflictError):
    """Another live process owns the run; ``pid`` is its process on this machine, or None if it is elsewhere."""

    retryable = True
    reason = "RunOwned"
    problem_type = "run-owned"

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"running in pid {pid}" if pid else "running elsewhere")
        self.pid = pid

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.pid,)


class RunFinished(ConflictError):
    """The run is terminal."""

    reason = "RunFinished"
    problem_type = "run-finished"


class AlreadyDecided(ConflictError):
    """The approval has the contrary decision; the first one wins."""

    reason = "AlreadyDecided"
    problem_type = "already-decided"


class Fenced(ConflictError):
    """Another owner took the run over: this commit was refused, and nothing of it is visible."""

    reason = "Fenced"
    problem_type = "fenced"
    exit_code = 3

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id!r} has another owner now")
        self.run_id = run_id

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run_id,)


class DatabaseUnavailable(ArklexError):
    """The database cannot do it now; nothing of what was asked is visible, all that was acknowledged is kept.

    ``cause`` says why: ``locked`` and ``unreachable`` may pass by themselves, ``full`` after making room; ``corrupt``,
    ``readonly`` and ``newer`` (a schema from a later release) need somebody.
    """

    reason = "DatabaseUnavailable"
    problem_type = "database-unavailable"
    http_status = 503
    exit_code = 3

    def __init__(self, cause: DatabaseCause, detail: str = "") -> None:
        super().__init__(f"database {_CAUSES[cause]}" + (f": {detail}" if detail else ""))
        self.cause: DatabaseCause = cause
        self.detail = detail
        self.retryable = cause in ("locked", "unreachable", "full")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cause, self.detail)


_CAUSES: dict[DatabaseCause, str] = {
    "locked": "is locked by another process",
    "corrupt": "is corrupt",
    "newer": "was written by a newer release",
    "full": "cannot grow: no space left",
    "readonly": "is read-only",
    "unreachable": "cannot be reached",
}
