"""Probes and metrics of a pod: ``/healthz`` (the loop turns), ``/readyz`` (it can be given work), ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

Why = Callable[[], str | None]
"""Why not; None where all is well."""


async def serve(port: int, healthy: Why, ready: Why, metrics: Callable[[], bytes]) -> tuple[web.AppRunner, int]:
    """Serve on all addresses; returns what to clean up, and the port. Raises OSError where the port is taken."""
    app = web.Application()
    app.router.add_get("/healthz", lambda _: _answer(healthy))
    app.router.add_get("/readyz", lambda _: _answer(ready))
    app.router.add_get("/metrics", lambda _: _metrics(metrics))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, None, port)
    await site.start()
    bound = next(iter(runner.addresses), ("", port))
    return runner, int(bound[1])


async def _answer(why: Why) -> web.Response:
    reason = why()
    return web.Response(text=(reason or "ok") + "\n", status=200 if reason is None else 503)


async def _metrics(metrics: Callable[[], bytes]) -> web.Response:
    return web.Response(body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
