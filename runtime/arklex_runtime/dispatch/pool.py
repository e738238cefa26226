"""The guide's WorkerPool and TaskExecutor: one task on one worker, from plain Python."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from arklex_api.base import JSON
from arklex_runtime.errors import WorkerNotFoundError


class WorkerPool:
    """Workers by type, and up to ``max_workers`` threads to run them on (guide, "Worker Pool").

    A worker is anything with ``execute(task_data)``, sync or async, or a callable. Safe from threads.
    """

    def __init__(self, max_workers: int = 4) -> None:
        if max_workers < 1:
            raise ValueError("max_workers must be at least 1")
        self.workers: dict[str, Any] = {}
        self.max_workers = max_workers
        self.executor = ThreadPoolExecutor(max_workers, thread_name_prefix="arklex-pool")
        self._lock = threading.Lock()

    def add_worker(self, worker_type: str, worker_instance: Any) -> None:
        """Make ``worker_instance`` the worker for tasks of ``worker_type``, in place of an earlier one."""
        with self._lock:
            self.workers[worker_type] = worker_instance

    def execute_task(self, task_type: str, task_data: JSON) -> JSON:
        """What the worker for ``task_type`` makes of ``task_data``; an async worker is run to its end.

        At most ``max_workers`` run at once, more callers wait. Raises WorkerNotFoundError, and what the worker raises.
        """
        worker = self.workers.get(task_type)
        if worker is None:
            known = ", ".join(sorted(self.workers)) or "none"
            raise WorkerNotFoundError(f"Worker not found: {task_type} (there is: {known})")
        return self.executor.submit(_call, worker, task_data).result()

    def close(self) -> None:
        """Stop taking tasks; those that run end."""
        self.executor.shutdown(wait=False, cancel_futures=True)


def _call(worker: Any, task_data: JSON) -> JSON:
    execute = getattr(worker, "execute", worker)
    found = execute(task_data)
    return asyncio.run(_awaited(found)) if inspect.isawaitable(found) else found


async def _awaited(found: Any) -> JSON:
    return await found


class TaskExecutor:
    """Runs one task of a graph given the results of those before it (guide, "Task Graph Engine").

    For a whole graph, with retries, conditions and durability, use TaskGraphEngine or Orchestrator.
    """

    def __init__(self, pool: WorkerPool | None = None) -> None:
        self.pool = pool or WorkerPool()

    def execute(self, task: Any, context: Any, results: dict[str, JSON]) -> JSON:
        """The output of ``task`` (a ``arklex_api.task.Task`` of kind worker or value) over ``context`` and ``results``.

        Raises WorkerNotFoundError, ExpressionError, TypeError for a kind of task that needs an orchestrator, and what the
        worker raises.
        """
        from arklex_api.expressions import compile_template
        from arklex_api.plan import ROOTS, kind_of

        tasks = {
            name: {"phase": "Succeeded", "output": output, "error": None, "errors": []} for name, output in results.items()
        }
        scope = {
            "input": context.input or {},
            "query": context.query,
            "context": context.context,
            "session": {},
            "run": {},
            "tasks": tasks,
        }
        kind = kind_of(task)
        if kind == "value":
            return compile_template(task.value, path="value", roots=ROOTS).evaluate(scope)
        if kind != "worker" or task.worker is None:
            raise TypeError(f"task '{task.name}' is of kind {kind}: run it with an Orchestrator")
        inputs = compile_template(task.with_, path="with", roots=ROOTS).evaluate(scope) if task.given("with_") else {}
        return self.pool.execute_task(task.worker, inputs)
