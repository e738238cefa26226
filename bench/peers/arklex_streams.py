"""arklex, distributed: a runtime with its journal (SQLite, NORMAL), a Redis, and one worker pod as a process of its own.

Each attempt's start and result are journaled; a job is sent once the result before it is committed.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path

from arklex_api.base import API_VERSION
from arklex_api.taskgraph import TaskGraph
from arklex_api.worker import Worker
from arklex_runtime.dispatch.streams.dispatcher import StreamsDispatcher
from arklex_runtime.dispatch.streams.link import Address
from arklex_runtime.engine.program import Program
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.remote import RemoteBench
from arklex_runtime.orchestrator.requests import Request
from arklex_runtime.scaling.collector import collect_seldom
from arklex_runtime.state.journal import open_journal
from arklex_runtime.state.results import ResultCache
from bench.harness import Run, main
from bench.peers.arklex import manifest
from bench.servers import python, redis_server, running
from bench.shapes import Shape, Value

SPEC = {"type": "custom", "config": {"handler": "bench.peers.arklex:node"}, "concurrency": 1000}


class Streams:
    """A RunHost over Redis Streams."""

    async def open(self, folder: Path) -> None:
        self._stack = ExitStack()
        port = self._stack.enter_context(redis_server(folder))
        (folder / "url").write_text(f"redis://127.0.0.1:{port}/0")
        environ = {
            "ARKLEX_WORKER": "echo",
            "ARKLEX_WORKER_SPEC": json.dumps(SPEC),
            "ARKLEX_CONNECTION_DIR": str(folder),
            "ARKLEX_METRICS_PORT": "0",
            "POD_NAME": "pod",
            "POD_NAMESPACE": "default",
        }
        self._stack.enter_context(running(python("-m", "arklex_runtime.cli", "worker"), environ))
        bench = RemoteBench(ResultCache())
        dispatcher = StreamsDispatcher(Address(port=port), bench.route_of)
        self._host = RunHost(await open_journal(self.journal(folder), patience=60.0), bench, dispatcher=dispatcher)
        await asyncio.sleep(3)
        collect_seldom()

    def journal(self, folder: Path) -> str:
        return f"sqlite:///{folder}/arklex.db"

    def prepare(self, shape: Shape) -> Run:
        body = {"apiVersion": API_VERSION, "kind": "Worker", "metadata": {"name": "echo"}, "spec": SPEC}
        graph = TaskGraph.model_validate(manifest(shape))
        program = Program.of(shape.name, {shape.name: graph}, {"echo": Worker.model_validate(body)})

        async def run(given: Value) -> Value:
            driver = await self._host.start(program, Request(query=given))
            await driver.ended
            output = RunHost.finished_document(driver)["output"]
            driver.state.dissolve()
            return output

        return run

    async def close(self) -> None:
        await self._host.aclose()
        self._stack.close()


if __name__ == "__main__":
    main(Streams())
