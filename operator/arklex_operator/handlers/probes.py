"""The operator's HTTP ports: /healthz and /readyz, and /metrics. They answer on a standby too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], str | None]
"""What is wrong, for people; None if nothing is. It must not block."""


class Probes:
    """Serves probes on ``health_port`` and metrics on ``metrics_port``; port 0 takes any that is free.

    Without ``host`` it listens on all addresses.
    """

    def __init__(self, registry: CollectorRegistry, health_port: int, metrics_port: int, host: str | None = None) -> None:
        self._registry = registry
        self._host = host
        self._ports = (health_port, metrics_port)
        self._runners: list[web.AppRunner] = []
        self.health: list[Check] = []
        self.ready: list[Check] = []

    async def start(self) -> tuple[int, int]:
        """Listen; the two ports."""
        health, metrics = web.Application(), web.Application()
        health.router.add_get("/healthz", self._answer(lambda: self.health))
        health.router.add_get("/readyz", self._answer(lambda: self.ready))
        metrics.router.add_get("/metrics", self._metrics)
        bound = [await self._listen(app, port) for app, port in zip((health, metrics), self._ports, strict=True)]
        return bound[0], bound[1]

    async def aclose(self) -> None:
        """Stop listening."""
        for runner in self._runners:
            await runner.cleanup()

    async def _listen(self, app: web.Application, port: int) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, self._host, port).start()
        return int(runner.addresses[0][1])

    def _answer(self, checks: Callable[[], list[Check]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            wrong = [told for check in checks() if (told := check())]
            return web.Response(status=503 if wrong else 200, text="\n".join(wrong) or "ok")

        return answer

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
