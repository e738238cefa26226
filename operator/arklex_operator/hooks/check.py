"""``helm test``: whether each part of the installation says it is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiohttp

from arklex_operator.hooks.api import Api, HookError

_TIMEOUT = aiohttp.ClientTimeout(total=5)


async def check(api: Api, name: str, target: str, seconds: float, say: Callable[[str], None] = print) -> bool:
    """Ask ``target`` (a URL, or a path of the API server) for up to ``seconds`` until it answers well. Whether it did."""
    deadline = time.monotonic() + seconds
    while True:
        trouble = await _ask(api, target)
        if trouble is None:
            say(f"{name}: ready")
            return True
        if time.monotonic() > deadline:
            say(f"{name}: {target}: {trouble}")
            return False
        await asyncio.sleep(1)


async def _ask(api: Api, target: str) -> str | None:
    """What is wrong, if anything."""
    if target.startswith("/"):
        try:
            await api.call("GET", target)
        except HookError as error:
            return str(error)
        return None
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(target) as response:
            return None if response.status == 200 else f"HTTP {response.status}: {(await response.text())[:200]}"
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        return str(error) or type(error).__name__
