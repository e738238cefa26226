"""The process's HTTP client for tools: guarded, without cookies, without proxies from the environment."""

from __future__ import annotations

import asyncio

import aiohttp

from arklex_runtime.tools.addresses import AddressPolicy

USER_AGENT = "arklex-operator"
_CONNECTIONS = 100
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30)
"""The call's own timeout bounds the whole; an address that does not answer in 30 s is given up."""


class HttpSessions:
    """Gives the one aiohttp session of the running event loop; ``aclose()`` before that loop ends."""

    def __init__(self, policy: AddressPolicy | None = None) -> None:
        """``policy`` defaults to one that allows private addresses."""
        self._policy = policy or AddressPolicy()
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> aiohttp.ClientSession:
        """The session, made on first use."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            self._loop = loop
            self._session = self._open()
        return self._session

    async def aclose(self) -> None:
        """Closes the session's connections; a later use opens a new one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS, socket_factory=self._policy.open_socket)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=_TIMEOUT,
            headers={"User-Agent": USER_AGENT},
        )
