"""``arklex worker``: the process of a worker pod. Exit codes: 0 drained, 2 it cannot be this worker, 3 a port is taken."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from arklex_api.problems import ManifestError
from arklex_runtime.observability.logs import setup_logging
from arklex_runtime.pod.settings import Settings, SettingsError, read_settings
from arklex_runtime.workers.imports import handler_path

log = logging.getLogger("arklex.pod")


class _Stop:
    """SIGTERM and SIGINT, from the first moment on: process 1 has no default for them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)

    def _heard(self, number: int, _: FrameType | None) -> None:
        if self._loop is None or self._event is None:
            log.info("stopped before it had begun")
            raise SystemExit(0)
        self._loop.call_soon_threadsafe(self._event.set)

    def arm(self) -> asyncio.Event:
        """From now on a signal sets the event, in the running loop."""
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        return self._event


def run_worker(environ: Mapping[str, str] | None = None) -> int:
    """Run the pod that the environment describes until SIGTERM; returns the exit code."""
    stop = _Stop()
    setup_logging("json")
    try:
        settings = read_settings() if environ is None else read_settings(environ)
        with handler_path((Path.cwd(),)):
            return _run(settings, stop)
    except SettingsError as error:
        log.error("the worker cannot start: %s", error)
        return 2
    except ManifestError as error:
        for problem in error.problems:
            log.error("the worker cannot start: %s: %s", problem.path, problem.message, extra={"reason": problem.reason})
        return 2
    except OSError as error:
        log.error("the worker cannot start: %s", error)
        return 3


def _run(settings: Settings, stop: _Stop) -> int:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, stop))


async def _serve(settings: Settings, stop: _Stop) -> int:
    from arklex_runtime.pod.capture import capturing
    from arklex_runtime.pod.pod import Pod
    from arklex_runtime.pod.web import serve
    from arklex_runtime.scaling.collector import collect_seldom

    with capturing():
        pod = Pod(settings)
        web, port = await serve(settings.port, pod.healthy, pod.ready, pod.metrics.text)
        waiter = asyncio.create_task(_stop_later(stop.arm(), pod.stop))
        log.info(
            "working",
            extra={"worker": settings.name, "namespace": settings.namespace, "pod": settings.pod, "port": port},
        )
        collect_seldom()
        try:
            await pod.run()
        finally:
            waiter.cancel()
            await web.cleanup()
    return 0


async def _stop_later(event: asyncio.Event, call: Callable[[], None]) -> None:
    await event.wait()
    call()
