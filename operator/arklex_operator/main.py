"""``arklex-operator``: reads its settings, and runs the operator until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from types import FrameType

from arklex_operator.settings import Settings, SettingsError

DEEPEST = 25_000
"""Frames of Python: the API server takes JSON 10,000 deep, and one such object must not stop the watch of all others."""

log = logging.getLogger("arklex.operator")


def main() -> None:
    """The command. Exit codes: 0 after SIGTERM, 2 for bad settings, 1 when the watches ended, 70 when the Lease was lost."""
    signal.signal(signal.SIGTERM, _stop_at_once)
    sys.setrecursionlimit(DEEPEST)
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        print(f"arklex-operator: {error}", file=sys.stderr)
        sys.exit(2)
    from arklex_operator.cluster.logs import setup_logging

    setup_logging(settings.log_level)
    with asyncio.Runner(loop_factory=_loop) as runner:
        code = runner.run(_run(settings))
    sys.exit(code)


def _stop_at_once(signum: int, frame: FrameType | None) -> None:
    """As process 1 a signal without a handler is ignored: while nothing runs yet, end.

    Not by an exception: where a signal meets a destructor or a callback of an import, Python drops it.
    """
    os._exit(0)


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _run(settings: Settings) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def take_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

    take_signals()
    from arklex_operator.cluster.api import Api
    from arklex_operator.cluster.monitoring import Monitoring
    from arklex_operator.handlers.controllers import controllers
    from arklex_operator.handlers.operator import Operator

    monitoring = Monitoring()
    api = await Api.connect(monitoring)
    try:
        await Operator(settings, api, monitoring, controllers(), take_signals=take_signals).run(stop)
    finally:
        await api.aclose()
    return 0 if stop.is_set() else 1


if __name__ == "__main__":
    main()
