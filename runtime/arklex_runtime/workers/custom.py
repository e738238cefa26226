"""Custom workers: ``config.handler: package.module:callable``, any Python function or class.

A handler takes the task's inputs, and the TaskContext where it has a second parameter for it; it may be sync (it then runs
on a thread) or async. A class is instantiated once, with the Worker's ``config`` where its constructor has a parameter for
it, and must have ``execute`` or ``__call__``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from arklex_api.base import JSON
from arklex_runtime.errors import TaskError
from arklex_runtime.workers.base import TaskContext
from arklex_runtime.workers.imports import HandlerError, import_handler

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_CONTEXT_NAMES = ("context", "ctx", "task_context")


class CustomWorker:
    """Calls the handler of a Worker of type custom."""

    def __init__(self, handler: object, name: str = "handler", config: dict[str, JSON] | None = None) -> None:
        """``name`` is how messages call the handler. Raises HandlerError for one that cannot be called as a handler."""
        self._owner = _instantiate(handler, name, config or {}) if inspect.isclass(handler) else handler
        target = _target(self._owner, name)
        if _made_of(target, inspect.isgeneratorfunction) or _made_of(target, inspect.isasyncgenfunction):
            raise HandlerError(f"handler {name} is a generator: return one JSON value instead of yielding")
        self._name = name
        self._asynchronous = _made_of(target, inspect.iscoroutinefunction)
        self._call = adapt(target, name)

    @property
    def blocking(self) -> bool:
        """True for a sync handler: it runs on a thread, and cannot be stopped."""
        return not self._asynchronous

    def execute(self, inputs: JSON, context: TaskContext | None) -> JSON | Awaitable[JSON]:
        """What the handler returns; its exceptions pass unchanged."""
        result = self._call(inputs, context)
        if self._asynchronous or not inspect.isawaitable(result):
            return result
        if inspect.iscoroutine(result):
            result.close()
        raise TaskError(
            "InvalidOutput", f"handler {self._name} returned an awaitable: declare it with async def", retryable=False
        )

    def clear_cache(self) -> None:
        """Calls the handler's own ``clear_cache`` where it has one."""
        clear = getattr(self._owner, "clear_cache", None)
        if callable(clear):
            clear()

    async def aclose(self) -> None:
        """Calls the handler's own ``aclose`` (async) or ``close`` (sync) where its class has one."""
        for name in ("aclose", "close"):
            close = getattr(self._owner, name, None)
            if callable(close):
                result = close()
                if inspect.isawaitable(result):
                    await result
                return


def load_custom(config: dict[str, JSON]) -> CustomWorker:
    """The worker of a custom Worker's ``config``. Raises HandlerError, whose words name the fix."""
    handler = config.get("handler")
    if not isinstance(handler, str) or not handler:
        raise HandlerError("a worker of type custom needs config.handler, e.g. my_module:my_function")
    return CustomWorker(import_handler(handler), repr(handler), {k: v for k, v in config.items() if k != "handler"})


def _instantiate(kind: Callable[..., Any], name: str, config: dict[str, JSON]) -> object:
    try:
        takes = [p for p in inspect.signature(kind).parameters.values() if p.kind in _POSITIONAL]
    except ValueError:
        takes = []
    by_config = bool(takes) and (takes[0].default is inspect.Parameter.empty or takes[0].name == "config")
    try:
        return kind(config) if by_config else kind()
    except Exception as error:
        raise HandlerError(f"class {name} cannot be instantiated: {type(error).__name__}: {error}") from error


def _target(owner: object, name: str) -> Callable[..., Any]:
    """What to call: the object's ``execute`` (the guide's name), else the object itself."""
    execute = getattr(owner, "execute", None)
    target: Callable[..., Any] | None = next((found for found in (execute, owner) if callable(found)), None)
    if target is not None:
        return target
    raise HandlerError(f"handler {name} is a {type(owner).__name__}, which cannot be called and has no method execute")


def _made_of(target: Any, test: Callable[[object], bool]) -> bool:
    """Whether ``test`` holds for the function behind ``target``: through partials, and for objects with ``__call__``."""
    while isinstance(target, functools.partial):
        target = target.func
    if inspect.isroutine(target):
        return test(target)
    return test(target) or test(target.__call__)


def adapt(target: Callable[..., Any], name: str) -> Callable[[JSON, TaskContext | None], Any]:
    """A call with (inputs, context) to a handler of one or two parameters."""
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except ValueError:
        return lambda inputs, context: target(inputs)
    needed = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in _CONTEXT_NAMES]
    if needed:
        raise HandlerError(f"handler {name} needs the keyword {needed[0]!r}: a handler takes (inputs) or (inputs, context)")
    keyword = next((p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in _CONTEXT_NAMES), None)
    count = _positional_count(parameters, name)
    if keyword is not None and count == 1:
        return lambda inputs, context: target(inputs, **{keyword: context})
    return (lambda inputs, context: target(inputs, context)) if count == 2 else (lambda inputs, context: target(inputs))


def _positional_count(parameters: list[inspect.Parameter], name: str) -> int:
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    if positional and positional[0].name == "self":
        raise HandlerError(f"handler {name} is a method without its object: name the class, which is instantiated once")
    required = [p for p in positional if p.default is p.empty]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(required) > 2 or not (positional or variadic):
        words = ", ".join(p.name for p in positional) or "nothing"
        raise HandlerError(f"handler {name} takes ({words}): a handler takes (inputs) or (inputs, context)")
    if len(required) == 2 or (variadic and len(positional) < 2):
        return 2
    return 2 if len(positional) >= 2 and _is_context(positional[1]) else 1


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    words = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return parameter.name in _CONTEXT_NAMES or "TaskContext" in words
