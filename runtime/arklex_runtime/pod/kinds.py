"""What a pod runs: a Python handler, a container beside it, a language model, or tools."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable

import orjson

from arklex_api.problems import ManifestError, Problem
from arklex_api.tool import Tool
from arklex_api.worker import Worker
from arklex_runtime.dispatch.local import Lane
from arklex_runtime.dispatch.streams.wire import JobMessage
from arklex_runtime.errors import TaskError
from arklex_runtime.pod.capture import Captured, Tail
from arklex_runtime.tools.registry import ToolRegistry
from arklex_runtime.tools.runner import ToolRunner
from arklex_runtime.workers.base import TaskWorker, WorkerServices
from arklex_runtime.workers.build import build_worker

KEPT = 64
"""Sets of tools that are kept built; a graph's changes only with the graph."""

log = logging.getLogger("arklex.pod")


class Bench:
    """The pod's worker, and the tools of the graphs that it works for. ``tails`` are where attempts' lines go."""

    def __init__(
        self, worker: Worker, services: WorkerServices, tails: dict[int, Tail], registry: Callable[[str], ToolRegistry]
    ) -> None:
        """``registry`` makes an empty one for a graph. Raises ManifestError where the worker cannot be made."""
        self._new_registry = registry
        self._services = services
        self._tails = tails
        self._slots = worker.spec.concurrency
        self._registries: OrderedDict[str, ToolRegistry] = OrderedDict()
        self._lanes: OrderedDict[tuple[str, str], Lane] = OrderedDict()
        self.worker = _worker(worker, services)
        self._lane = self._lane_of(self.worker) if self.worker is not None else None

    def _lane_of(self, worker: TaskWorker) -> Lane:
        # Twice the slots: a handler that does not return keeps its thread, and the pod counts slots itself.
        return Lane(Captured(worker, self._tails), 2 * self._slots)

    def lane(self, message: JobMessage) -> Lane:
        """Where the attempt runs. Raises TaskError for one that this pod cannot run."""
        if self._lane is not None:
            if message.tool is not None:
                raise TaskError("InvalidInput", f"this Worker calls no tools, it was asked for {message.tool!r}")
            return self._lane
        if message.tool is None:
            raise TaskError("InvalidInput", "a Worker of type tool runs tasks with 'tool' only")
        key = (_digest(message), message.tool)
        lane = self._lanes.get(key)
        if lane is None:
            registry = self.tools(message, strict=True)
            if message.tool not in registry.tools:
                raise TaskError("InvalidInput", f"the job does not define its tool {message.tool!r}")
            lane = self._lanes[key] = self._lane_of(ToolRunner(registry, message.tool))
            while len(self._lanes) > KEPT:
                self._lanes.popitem(last=False)
        return lane

    def tools(self, message: JobMessage, *, strict: bool = False) -> ToolRegistry:
        """The tools that the attempt may call. Raises TaskError where ``strict``, else leaves out what cannot be made."""
        key = _digest(message)
        registry = self._registries.get(key)
        if registry is None:
            registry, complete = self._build(message, strict)
            if not complete:
                return registry
            self._registries[key] = registry
            while len(self._registries) > KEPT:
                self._registries.popitem(last=False)
        return registry

    def _build(self, message: JobMessage, strict: bool) -> tuple[ToolRegistry, bool]:
        from arklex_runtime.tools.http import HttpTool

        registry, complete = self._new_registry(message.graph), True
        for definition in message.tools:
            try:
                tool = Tool.model_validate(definition, extra="ignore")
                registry.register_tool(tool.name, HttpTool(tool, self._services, f"tool {tool.name}"))
            except (ManifestError, ValueError) as error:
                if strict:
                    raise TaskError("Failed", f"tool {definition.get('name')!r} cannot be called: {error}") from None
                complete = False
                log.warning("a tool cannot be called", extra={"tool": str(definition.get("name")), "error": str(error)})
        return registry, complete

    def clear_caches(self) -> None:
        """Give memory back."""
        for holder in (self.worker, *self._registries.values()):
            clear = getattr(holder, "clear_cache", None)
            if callable(clear):
                clear()

    async def aclose(self) -> None:
        """Close connections."""
        for holder in (self.worker, *self._registries.values()):
            close = getattr(holder, "aclose", None)
            if callable(close):
                await close()


def _worker(worker: Worker, services: WorkerServices) -> TaskWorker | None:
    """The worker behind the manifest; None for type tool, whose work comes with each job."""
    spec = worker.spec
    if spec.type == "tool":
        return None
    if spec.type == "custom" and (port := spec.config.get("port")) is not None:
        from arklex_runtime.workers.container import ContainerWorker

        return ContainerWorker(int(port))
    if spec.type in ("custom", "llm"):
        return build_worker(worker, services)
    message = f"type {spec.type!r} is not in this version: use custom, llm or tool"
    raise ManifestError([Problem("spec.type", "NotSupported", f"Worker {worker.metadata.name!r}: {message}")])


def _digest(message: JobMessage) -> str:
    if not message.tools:
        return message.graph
    return hashlib.sha256(orjson.dumps([message.graph, message.tools], option=orjson.OPT_SORT_KEYS)).hexdigest()
