"""The effect ledger of handlers in pods: an HTTP server of the test's that appends each line to a file."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.faults.ledger import BEGIN, Ledger


class LedgerServer:
    """``url`` is where pods post to; ``path`` is the file, as tests.faults.ledger reads it.

    Effects that are to be held go on once ``free`` is set.
    """

    def __init__(self, path: Path, address: str) -> None:
        self.path = path
        self.ledger = Ledger(str(path))
        self._pods: dict[tuple[str, str], str] = {}
        self.free = threading.Event()
        write, free = self._write, self.free

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with contextlib.suppress(json.JSONDecodeError):  # of a pod that died while it wrote
                    write(*json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200 if free.wait(1) else 425)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer((address, 0), Handler)
        self.url = f"http://{address}:{self.server.server_address[1]}/"

    def _write(self, kind: str, run: str, task: str, attempt: int, key: str, ok: bool, pod: str) -> None:
        self.ledger.write(kind, run, task, attempt, key, ok)
        if kind == BEGIN:
            self._pods[run, task] = pod
        else:
            self._pods.pop((run, task), None)

    def turn(self, path: Path) -> None:
        """Go on in another file."""
        self.path, self.ledger = path, Ledger(str(path))

    def held(self) -> Counter[str]:
        """How many effects each pod is in the middle of."""
        return Counter(list(self._pods.values()))


@contextlib.contextmanager
def ledger_server(path: Path, address: str) -> Iterator[LedgerServer]:
    """Run a ledger on ``address``, an address that pods reach."""
    found = LedgerServer(path, address)
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()
        thread.join()
