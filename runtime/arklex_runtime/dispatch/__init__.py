"""From a command of the engine to a handler and back: slots, threads, timeouts. In-process here; Redis Streams on a cluster."""

from arklex_runtime.dispatch.pool import TaskExecutor, WorkerPool

__all__ = ["TaskExecutor", "WorkerPool"]
