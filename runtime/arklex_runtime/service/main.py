"""``arklex runtime``: the process of a runtime pod. Exit codes: 0 told to stop, 2 the settings, 3 the environment."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping

from arklex_runtime.errors import ArklexError
from arklex_runtime.observability.logs import setup_logging
from arklex_runtime.service.settings import Settings, SettingsError, read_settings

SETTLED = 5.0
"""Seconds after which a process has loaded what it keeps for good."""

log = logging.getLogger("arklex.runtime")


def run_runtime(environ: Mapping[str, str] | None = None) -> int:
    """Run the replica that the environment describes until SIGTERM; returns the exit code."""
    setup_logging("json")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        settings = read_settings() if environ is None else read_settings(environ)
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
        return 0
    except SettingsError as error:
        log.error("the runtime cannot start: %s", error)
        return 2
    except (ArklexError, OSError) as error:
        log.error("the runtime cannot go on: %s", error)
        return 3
    except ExceptionGroup as group:
        log.exception("the runtime cannot go on", exc_info=group)
        return 3


async def _serve(settings: Settings) -> None:
    from arklex_runtime.scaling.collector import collect_seldom
    from arklex_runtime.service.runtime import Runtime

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.call_later(SETTLED, collect_seldom)
    await Runtime(settings, stop).run()
