"""The guide's Orchestrator: runs task graphs from Python, without a cluster."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from arklex_api.base import JSON
from arklex_runtime.engine.program import Program
from arklex_runtime.orchestrator.context import ExecutionContext, Middleware, RunFailed, RunResult, apply
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.requests import Request
from arklex_runtime.orchestrator.sources import GraphSource, llm_worker, program_of, python_worker
from arklex_runtime.security.secrets import SecretResolver
from arklex_runtime.tools.registry import ToolRegistry

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from arklex_runtime.observability.monitoring import Monitoring
    from arklex_runtime.state.manager import StateManager
    from arklex_runtime.workers.base import TaskWorker


class Orchestrator:
    """Coordinates the execution of task graphs: workers, tools, middleware, state, monitoring (guide, "Orchestrator").

    ``db`` is the journal: a path or URL of SQLite or PostgreSQL; by default in memory, so that nothing outlives the object.
    ``redis_url`` (``redis://…``) puts a Redis between memory and database for the results of tasks with ``cache``.
    ``llm_provider``, ``model`` and ``api_key`` make a Worker called ``llm``, which graphs without ``spec.llm`` use.
    One object belongs to one event loop at a time; ``run`` keeps a loop of its own.
    """

    def __init__(
        self,
        llm_provider: str | None = None,
        model: str | None = None,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        redis_url: str | None = None,
        db: str = "sqlite://",
        max_workers: int = 4,
        middleware: list[Middleware] | None = None,
        tools: ToolRegistry | None = None,
        state_manager: StateManager | None = None,
        monitoring: Monitoring | None = None,
        secrets: SecretResolver | None = None,
    ) -> None:
        from arklex_runtime.observability.monitoring import Monitoring
        from arklex_runtime.state.manager import StateManager

        self.workers: dict[str, Any] = {}
        self.tools = tools or ToolRegistry()
        self.middleware: list[Middleware] = middleware if middleware is not None else []
        self.state_manager = state_manager or StateManager()
        self.monitoring = monitoring or Monitoring()
        self._db = db
        self._redis_url = redis_url
        self._max_workers = max_workers
        self._concurrency: dict[str, int] = {}
        self._llm = llm_worker(llm_provider or "openai", model, base_url) if model else None
        self._secrets = secrets or SecretResolver(environ=_environ(llm_provider or "openai", api_key) if api_key else None)
        self._programs: dict[int, tuple[Any, Program]] = {}
        self._host: RunHost | None = None
        self._redis: Redis | None = None
        self._runner: asyncio.Runner | None = None

    def add_worker(self, name: str, worker: Any, concurrency: int = 10) -> None:
        """Make ``worker`` (a handler, or an object with ``execute``) what tasks with ``worker: name`` run on.

        ``concurrency``: tasks at once; sync handlers also share ``max_workers`` threads.
        """
        self.workers[name] = worker
        self._concurrency[name] = concurrency

    def run(
        self, task_graph: GraphSource, query: str = "", context: dict[str, JSON] | None = None, **options: Any
    ) -> RunResult:
        """Execute ``task_graph`` with ``query`` and wait for its end; see ``arun`` for options, result and errors.

        Raises RuntimeError inside a running event loop: use ``arun`` there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._runner is None:
                self._runner = asyncio.Runner(loop_factory=loop_factory())
            return self._runner.run(self.arun(task_graph, query, context, **options))
        raise RuntimeError("Orchestrator.run cannot be called in a running event loop: use 'await orchestrator.arun(…)'")

    async def arun(
        self,
        task_graph: GraphSource,
        query: str = "",
        context: dict[str, JSON] | None = None,
        *,
        input: JSON = None,
        session_id: str | None = None,
        graph: str | None = None,
        check: bool = False,
    ) -> RunResult:
        """Execute ``task_graph`` with ``query``; returns the run's document, also of a run that failed.

        ``graph`` names one of several in the source. With ``check`` a run that did not succeed raises RunFailed.
        Raises ManifestError, ValidationError, what a middleware raises (nothing ran then), DatabaseUnavailable.
        """
        program = self._program(task_graph, graph)
        host = await self.host()
        given = ExecutionContext(query, context or {}, input, session_id)
        if self.middleware:
            given = await apply(self.middleware, given)
        driver = await host.start(program, Request(given.query, given.input, given.context, given.session_id))
        await driver.ended
        result = RunResult(host.finished_document(driver))
        driver.state.dissolve()
        self.monitoring.record_execution(result)
        if check and not result.ok:
            raise RunFailed(result)
        return result

    def _program(self, source: GraphSource, graph: str | None) -> Program:
        known = self._programs.get(id(source)) if graph is None else None
        if known is not None and known[0] is source:
            return known[1]
        workers = {name: python_worker(name, self._concurrency.get(name, 10)) for name in self.workers}
        if self._llm is not None:
            workers.setdefault("llm", self._llm)
        program = program_of(source, workers, "llm" if self._llm else None, graph)
        if graph is None and not isinstance(source, str | dict):
            self._programs[id(source)] = (source, program)
        return program

    async def host(self) -> RunHost:
        """The host of the running event loop, opened on first use."""
        loop = asyncio.get_running_loop()
        if self._host is not None and self._host.loop is not loop:
            if not self._host.loop.is_closed():
                raise RuntimeError("this Orchestrator belongs to another event loop: close it there first")
            self._host = None
        if self._host is None:
            self._host = await self._open()
        return self._host

    async def _open(self) -> RunHost:
        from arklex_runtime.orchestrator.workbench import Workbench
        from arklex_runtime.state.journal import open_journal
        from arklex_runtime.state.results import ResultCache

        given = {name: as_worker(worker, name) for name, worker in self.workers.items()}
        workbench = Workbench(self._secrets, ResultCache(redis=self._open_redis()), given, self.tools)
        return RunHost(await open_journal(self._db), workbench, max_workers=self._max_workers)

    def _open_redis(self) -> Redis | None:
        if self._redis_url is None:
            return None
        from redis.asyncio import Redis

        self._redis = Redis.from_url(self._redis_url)
        return self._redis

    async def aclose(self) -> None:
        """Give back what runs and close the journal. Runs that were not over can be resumed."""
        if self._host is not None:
            host, self._host = self._host, None
            await host.aclose()
        if self._redis is not None:
            redis, self._redis = self._redis, None
            await redis.aclose()

    def close(self) -> None:
        """``aclose`` for callers of ``run``."""
        if self._runner is not None:
            self._runner.run(self.aclose())
            self._runner.close()
            self._runner = None

    async def __aenter__(self) -> Orchestrator:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Orchestrator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def as_worker(worker: Any, name: str) -> TaskWorker:
    """``worker`` as a TaskWorker: one already, an object with ``execute`` (the guide's), a class or any callable."""
    from arklex_runtime.workers.custom import CustomWorker

    if hasattr(worker, "blocking") and hasattr(worker, "execute"):
        found: TaskWorker = worker
        return found
    execute = getattr(worker, "execute", None)
    return CustomWorker(execute if callable(execute) and not inspect.isclass(worker) else worker, name)


def _environ(provider: str, api_key: str) -> dict[str, str]:
    import os

    from arklex_runtime.security.secrets import USUAL_VARIABLES

    return {**os.environ, USUAL_VARIABLES.get(provider, "OPENAI_API_KEY"): api_key}


def loop_factory() -> Any:
    """What makes event loops: uvloop's where it is installed, else None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
