"""The guide's AsyncTaskProcessor: a bounded number of tasks at once, a bounded number that wait."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from arklex_runtime.errors import Overloaded


class AsyncTaskProcessor:
    """Runs submitted tasks on loops, one task each at a time, and at most ``max_concurrent_tasks`` in all.

    A task is a callable without parameters (sync ones hold the event loop), an awaitable, or anything that
    ``process_task`` of a subclass, or the ``handler`` given, takes. Belongs to one event loop.
    """

    def __init__(
        self,
        max_concurrent_tasks: int = 10,
        *,
        handler: Callable[[Any], Awaitable[Any]] | None = None,
        max_queued: int = 1000,
    ) -> None:
        """``max_queued`` tasks may wait; one more makes ``submit_task`` wait for room."""
        if max_concurrent_tasks < 1 or max_queued < 1:
            raise ValueError("max_concurrent_tasks and max_queued must be at least 1")
        self.semaphore = asyncio.Semaphore(max_concurrent_tasks)
        self.task_queue: asyncio.Queue[tuple[asyncio.Future[Any], Any]] = asyncio.Queue(max_queued)
        self.workers: list[asyncio.Task[None]] = []
        self._handler = handler
        self._stopped = False

    async def start_workers(self, num_workers: int = 4) -> None:
        """Starts further loops. Raises RuntimeError once stopped."""
        if num_workers < 1:
            raise ValueError("num_workers must be at least 1")
        if self._stopped:
            raise RuntimeError("the processor is stopped")
        self.workers += [asyncio.create_task(self.worker(), name=f"processor-{n}") for n in range(num_workers)]

    async def submit_task(self, task_data: Any) -> Any:
        """The task's result; its exception is raised here. Cancelling the caller cancels the task.

        Raises Overloaded once the processor is stopped.
        """
        if self._stopped:
            raise Overloaded("the processor is stopped")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self.task_queue.put((future, task_data))
        self._refuse_if_stopped()  # it may have been stopped while this waited for room
        return await future

    async def worker(self) -> None:
        """One loop: takes tasks from the queue until it is cancelled."""
        while True:
            future, task_data = await self.task_queue.get()
            try:
                if not future.done():
                    async with self.semaphore:
                        await self._run(future, task_data)
            finally:
                self.task_queue.task_done()

    async def process_task(self, task_data: Any) -> Any:
        """What a task is; see the class."""
        if self._handler is not None:
            return await self._handler(task_data)
        result = task_data() if callable(task_data) else task_data
        return await result if inspect.isawaitable(result) else result

    async def stop(self, grace_seconds: float | None = None) -> None:
        """Takes nothing new, lets what was taken finish for at most ``grace_seconds`` (no bound: None), cancels the rest.

        Whoever waits for a task that did not run gets Overloaded; for one that was cut short, CancelledError.
        """
        self._stopped = True
        if self.workers:
            try:
                async with asyncio.timeout(grace_seconds):
                    await self.task_queue.join()
            except TimeoutError:
                self._refuse_queued()
        for worker in self.workers:
            worker.cancel()
        await asyncio.gather(*self.workers, return_exceptions=True)
        self.workers.clear()
        self._refuse_queued()

    async def __aenter__(self) -> AsyncTaskProcessor:
        await self.start_workers()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, where: object) -> None:
        await self.stop(None if kind is None else 0.0)

    async def _run(self, future: asyncio.Future[Any], task_data: Any) -> None:
        """Runs one task for ``future``; only the loop's own cancellation leaves here."""
        running = asyncio.ensure_future(self.process_task(task_data))
        future.add_done_callback(lambda done: running.cancel() if done.cancelled() else None)
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait([running])
            future.cancel()
            raise
        error = None if running.cancelled() else running.exception()
        if future.done():
            return
        if running.cancelled():
            future.cancel()
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(running.result())

    def _refuse_if_stopped(self) -> None:
        if self._stopped and not self.workers:
            self._refuse_queued()

    def _refuse_queued(self) -> None:
        while not self.task_queue.empty():
            future, task_data = self.task_queue.get_nowait()
            self.task_queue.task_done()
            if inspect.iscoroutine(task_data):
                task_data.close()
            if not future.done():
                future.set_exception(Overloaded("the processor is stopped"))
