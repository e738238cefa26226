"""``arklex-metrics`` serves external.metrics.k8s.io; ``arklex-metrics unregister`` deletes its APIService, for an uninstall."""

from __future__ import annotations

import asyncio
import os
import sys

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.logs import setup_logging
from arklex_operator.metrics.options import Options, read_options
from arklex_operator.metrics.process import Process
from arklex_operator.metrics.registration import Registration

USAGE = "usage: arklex-metrics [unregister]"


def main() -> None:
    """Run the process; exit status 2 for a setting to correct, 1 when the API server cannot be spoken to."""
    arguments = sys.argv[1:]
    if arguments not in ([], ["unregister"]):
        sys.exit(USAGE)
    try:
        options = read_options(os.environ)
        setup_logging(options.log_level)
    except ValueError as error:
        print(f"arklex-metrics: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        asyncio.run(_unregister(options) if arguments else _serve(options))
    except ApiError as error:
        print(f"arklex-metrics: {error}", file=sys.stderr)
        sys.exit(1)


async def _serve(options: Options) -> None:
    api = await Api.connect()
    try:
        await Process(options, api).run()
    finally:
        await api.aclose()


async def _unregister(options: Options) -> None:
    api = await Api.connect()
    try:
        removed = await Registration(api, options).remove()
        print("APIService deleted" if removed else "no APIService of ours")
    finally:
        await api.aclose()


if __name__ == "__main__":
    main()
