"""A listening socket whose certificate and trusted CA can be exchanged: old connections end by themselves."""

from __future__ import annotations

import socket

from aiohttp import web

from arklex_operator.metrics.callers import FrontProxy, server_context
from arklex_operator.metrics.certificates import Identity


def listen(port: int) -> socket.socket:
    """A socket on all addresses of both families, where the machine has both."""
    dual = socket.has_dualstack_ipv6()
    return socket.create_server(
        ("", port), family=socket.AF_INET6 if dual else socket.AF_INET, dualstack_ipv6=dual, backlog=512
    )


class Listener:
    """Serves an application, whose runner is set up, by TLS; on a socket that it closes."""

    def __init__(self, runner: web.AppRunner, sock: socket.socket) -> None:
        self._runner, self._socket = runner, sock
        self._site: web.SockSite | None = None
        self.identity: Identity | None = None
        self.proxy: FrontProxy | None = None

    async def use(self, identity: Identity, proxy: FrontProxy) -> bool:
        """Serve with these from now on; answers whether anything changed."""
        if (identity, proxy) == (self.identity, self.proxy):
            return False
        site = web.SockSite(self._runner, self._socket.dup(), ssl_context=server_context(identity, proxy))
        self.identity, self.proxy = identity, proxy
        await site.start()
        if self._site is not None:
            await self._site.stop()
        self._site = site
        return True

    def close(self) -> None:
        """Take no more connections once the runner is cleaned up."""
        self._socket.close()
