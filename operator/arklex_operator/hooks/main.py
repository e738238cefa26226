"""``arklex-hooks secrets | cleanup | check``: exit code 0, or 1 with the reason on stderr."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from arklex_operator.hooks.api import Api, HookError, connect
from arklex_operator.hooks.check import check
from arklex_operator.hooks.cleanup import Cleanup
from arklex_operator.hooks.secrets import ensure


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="arklex-hooks", description="What the chart's hooks run.")
    top.add_argument("--kubeconfig", type=Path, help="instead of the pod's service account")
    commands = top.add_subparsers(dest="command", required=True)
    secrets = commands.add_parser("secrets", help="make the passwords that are missing")
    secrets.add_argument("--instance", required=True, help="the release")
    secrets.add_argument("secrets", nargs="+", metavar="NAME/KEY")
    cleanup = commands.add_parser("cleanup", help="before an uninstall")
    cleanup.add_argument("--instance", required=True, help="the release")
    cleanup.add_argument("--metrics", metavar="NAME", help="the metrics API's Deployment and Service: stop it, unregister it")
    cleanup.add_argument("--everything", action="store_true", help="objects, tenants' Secrets and Redis users too")
    cleanup.add_argument("--operator", metavar="NAME", help="the operator's Deployment: stop it first")
    cleanup.add_argument("--redis-acl", choices=["managed", "static", "off"], default="managed", help="whose users they are")
    cleanup.add_argument("--secret", action="append", default=[], metavar="NAME", help="a Secret made by `secrets`")
    checked = commands.add_parser("check", help="ask each part whether it is ready")
    checked.add_argument("--seconds", type=float, default=60.0, help="how long to ask again")
    checked.add_argument("parts", nargs="+", metavar="NAME=URL", help="a URL, or a path of the API server")
    return top


async def run(options: argparse.Namespace) -> bool:
    """Run the command; return whether all is well. Raises HookError."""
    async with connect(options.kubeconfig) as api:
        if options.command == "secrets":
            return await _secrets(api, options)
        if options.command == "cleanup":
            return await _cleanup(api, options)
        parts = [part.split("=", 1) for part in options.parts]
        return all(await asyncio.gather(*(check(api, name, target, options.seconds) for name, target in parts)))


async def _secrets(api: Api, options: argparse.Namespace) -> bool:
    namespace = _variable("POD_NAMESPACE")
    for pair in options.secrets:
        name, key = pair.split("/", 1)
        made = await ensure(api, namespace, options.instance, name, key)
        print(f"Secret {namespace}/{name}: {key} {'made' if made else 'stays as it is'}")
    return True


async def _cleanup(api: Api, options: argparse.Namespace) -> bool:
    namespaces = [name for name in os.environ.get("ARKLEX_NAMESPACES", "").split(",") if name]
    work = Cleanup(api, _variable("POD_NAMESPACE"), options.instance, namespaces)
    if options.metrics:
        await work.unregister(options.metrics)
    if options.everything:
        if options.operator:
            await work.stop(options.operator, "operator")
        seen = await work.objects()
        if options.redis_acl == "managed":
            seen |= await work.users(_variable("ARKLEX_REDIS_URL"), _password())
        await work.connections(seen)
        for name in options.secret:
            await work.secret(name)
    return True


def _variable(name: str) -> str:
    if value := os.environ.get(name):
        return value
    raise HookError(f"the environment variable {name} is not set")


def _password() -> str | None:
    """Redis's, without the line's end that an editor may have left."""
    path = os.environ.get("ARKLEX_REDIS_PASSWORD_FILE")
    return Path(path).read_text(encoding="utf-8").rstrip("\r\n") if path else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    options = parser().parse_args(arguments)
    try:
        well = asyncio.run(run(options))
    except (HookError, OSError) as error:
        print(f"arklex-hooks {options.command}: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0 if well else 1)
