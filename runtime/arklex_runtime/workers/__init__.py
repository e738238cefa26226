"""Workers: what runs a task. ``base`` is the interface, ``build`` makes one from a Worker manifest."""

from arklex_runtime.workers.base import TaskContext, TaskWorker, WorkerServices
from arklex_runtime.workers.build import build_worker
from arklex_runtime.workers.failures import as_task_error
from arklex_runtime.workers.imports import handler_path

__all__ = ["TaskContext", "TaskWorker", "WorkerServices", "as_task_error", "build_worker", "handler_path"]
