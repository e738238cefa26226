"""A TCP proxy that can go silent: connections stay open and nothing comes through, as when a network is cut.

Or only those that are open now, for ever, as when a firewall has forgotten them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Proxy:
    """Forwards to a port of the loopback; ``silent`` holds all back, ``cut`` ends, ``strand`` half-opens what is open."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._passing = threading.Event()
        self._passing.set()
        self._open: set[socket.socket] = set()
        self._stranded: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def silent(self) -> bool:
        """Whether nothing comes through."""
        return not self._passing.is_set()

    @silent.setter
    def silent(self, value: bool) -> None:
        (self._passing.clear if value else self._passing.set)()

    def strand(self) -> int:
        """Let nothing come through what is open, ever, and tell nobody; new connections work. Returns how many those were."""
        with self._lock:
            opened, self._open = self._open, set()
            self._stranded |= opened
        return len(opened) // 2

    def cut(self) -> None:
        """Reset every connection."""
        with self._lock:
            opened = self._open | self._stranded
            self._open, self._stranded = set(), set()
        for each in opened:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        """End it."""
        self._listener.close()
        self._passing.set()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            threading.Thread(target=self._join, args=(client, server), daemon=True).start()

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        """Forward both ways until both have ended; a stranded connection stays open."""
        back = threading.Thread(target=self._forward, args=(server, client), daemon=True)
        back.start()
        self._forward(client, server)
        back.join()
        with self._lock:
            mine = {client, server} & self._open
            self._open -= mine
        for each in mine:
            each.close()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._passing.wait()
                if source not in self._stranded:
                    sink.sendall(data)
            if source not in self._stranded:
                sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy to a port of the loopback."""
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()
