"""A TCP proxy before the API server that can be cut: what was connected breaks, and nothing new connects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.controlplane import ControlPlane


class Proxy:
    """Between one client and an API server."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = parts.hostname or "127.0.0.1", parts.port or 443
        self._up = True
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """The network is gone."""
        self._up = False
        for writer in self._open:
            writer.close()

    def mend(self) -> None:
        """It is back."""
        self._up = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if not self._up:
            writer.close()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        ends = {writer, there_writer}
        self._open |= ends
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        self._open -= ends


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def proxy(plane: ControlPlane, folder: Path) -> AsyncIterator[tuple[Proxy, Path]]:
    """A proxy and a kubeconfig that goes through it."""
    made = Proxy(plane.url)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kubeconfig = folder / "proxied.kubeconfig"
    kubeconfig.write_text(plane.kubeconfig.read_text().replace(plane.url, f"https://127.0.0.1:{port}"))
    try:
        yield made, kubeconfig
    finally:
        made.cut()
        server.close()
        await server.wait_closed()
