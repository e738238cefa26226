"""Custom workers: which callables are handlers, and how they are called."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable
from typing import Any

import pytest

from arklex_runtime.errors import RateLimitExceeded, TaskError
from arklex_runtime.workers import TaskContext, TaskWorker, as_task_error
from arklex_runtime.workers.custom import CustomWorker
from arklex_runtime.workers.imports import HandlerError

CONTEXT = TaskContext(run_id="r", task_name="t", action="greet", attempt=2)


def run(worker: CustomWorker, inputs: Any = None) -> Any:
    result = worker.execute(inputs, CONTEXT)
    if isinstance(result, Awaitable):

        async def wait() -> Any:
            return await result

        return asyncio.run(wait())
    return result


def one(inputs: Any) -> Any:
    return ["one", inputs]


def two(inputs: Any, context: TaskContext) -> Any:
    return ["two", inputs, context.attempt]


def optional(inputs: Any, context: TaskContext | None = None) -> Any:
    return ["optional", context is CONTEXT]


def annotated(inputs: Any, c: TaskContext | None = None) -> Any:
    return ["annotated", c is CONTEXT]


def default(inputs: Any, limit: int = 10) -> Any:
    return ["default", limit]


def keyword(inputs: Any, *, context: TaskContext) -> Any:
    return ["keyword", context.action]


def anything(*args: Any) -> Any:
    return ["anything", len(args)]


async def asynchronous(inputs: Any) -> Any:
    await asyncio.sleep(0)
    return ["async", inputs]


class Called:
    def __call__(self, inputs: Any) -> Any:
        return ["called", inputs]


class AsyncCalled:
    async def __call__(self, inputs: Any, context: TaskContext) -> Any:
        return ["async called", context.task_name]


class Executes:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.cleared = 0
        self.closed = False

    def execute(self, task_data: Any) -> Any:
        return [self.config, task_data]

    def clear_cache(self) -> None:
        self.cleared += 1

    def close(self) -> None:
        self.closed = True


def adding(x: int, inputs: Any) -> Any:
    return [x, inputs]


async def async_adding(x: int, inputs: Any) -> Any:
    return [x, inputs]


@functools.wraps(two)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return two(*args, **kwargs)


@pytest.mark.parametrize(
    ("handler", "output", "blocking"),
    [
        (one, ["one", 7], True),
        (two, ["two", 7, 2], True),
        (optional, ["optional", True], True),
        (annotated, ["annotated", True], True),
        (default, ["default", 10], True),
        (keyword, ["keyword", "greet"], True),
        (anything, ["anything", 2], True),
        (asynchronous, ["async", 7], False),
        (Called, ["called", 7], True),
        (Called(), ["called", 7], True),
        (AsyncCalled, ["async called", "t"], False),
        (functools.partial(adding, 1), [1, 7], True),
        (functools.partial(functools.partial(async_adding), 1), [1, 7], False),
        (wrapped, ["two", 7, 2], True),
        (abs, 7, True),
    ],
)
def test_a_handler_is_called_by_its_signature(handler: Any, output: Any, blocking: bool) -> None:
    worker = CustomWorker(handler)
    assert isinstance(worker, TaskWorker)
    assert worker.blocking is blocking
    assert run(worker, 7) == output


def test_a_class_is_made_once_with_the_config_and_lends_its_housekeeping() -> None:
    made: list[Executes] = []

    class Recorded(Executes):
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__(config)
            made.append(self)

    worker = CustomWorker(Recorded, config={"region": "eu"})
    assert run(worker, 1) == run(worker, 1) == [{"region": "eu"}, 1]
    worker.clear_cache()
    asyncio.run(worker.aclose())
    assert len(made) == 1 and made[0].cleared == 1 and made[0].closed


def nothing() -> None: ...


def three(a: Any, b: Any, c: Any) -> None: ...


def strict(inputs: Any, *, region: str) -> None: ...


def generator(inputs: Any) -> Any:
    yield inputs


async def async_generator(inputs: Any) -> Any:
    yield inputs


class Broken:
    def __init__(self) -> None:
        raise OSError("no socket")


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (nothing, "takes (nothing)"),
        (three, "takes (a, b, c)"),
        (strict, "needs the keyword 'region'"),
        (generator, "is a generator"),
        (async_generator, "is a generator"),
        (Broken, "OSError: no socket"),
        (object(), "has no method execute"),
        (Executes.execute, "is a method without its object"),
    ],
)
def test_what_is_no_handler_is_refused_with_the_reason(handler: Any, words: str) -> None:
    with pytest.raises(HandlerError, match=r"handler|class") as caught:
        CustomWorker(handler)
    assert words in str(caught.value)


def test_a_sync_function_that_returns_a_coroutine_is_told_to_be_async() -> None:
    def hidden(inputs: Any) -> Any:
        return asynchronous(inputs)

    with pytest.raises(TaskError, match="async def") as caught:
        run(CustomWorker(hidden))
    assert caught.value.type == "InvalidOutput"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "kind", "message", "details"),
    [
        (ValueError("bad"), "Failed", "bad", {"class": "ValueError"}),
        (KeyError("customer"), "Failed", "missing key 'customer'", {"class": "KeyError"}),
        (OSError(), "Failed", "OSError", {"class": "OSError"}),
        (Unprintable(), "Failed", f"{__name__}.Unprintable", {"class": f"{__name__}.Unprintable"}),
        (TaskError("OutOfStock", "none left", True, {"sku": 1}), "OutOfStock", "none left", {"sku": 1}),
        (RateLimitExceeded("slow down", 3.0), "RateLimited", "slow down", {"retryAfter": 3.0}),
        (asyncio.CancelledError(), "Cancelled", "the attempt was cancelled", None),
    ],
)
def test_exceptions_become_task_errors(error: BaseException, kind: str, message: str, details: Any) -> None:
    made = as_task_error(error)
    assert (made.type, made.message, made.details) == (kind, message, details)


def test_a_message_is_cut_to_four_kibibytes_of_utf8() -> None:
    message = as_task_error(ValueError("é" * 5000 + "\ud800")).message
    assert len(message.encode()) <= 4096 and message.endswith("é…")
