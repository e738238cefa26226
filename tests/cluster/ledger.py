"""The effect ledger of handlers in pods: an HTTP server of the test's that appends each line to a file."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.faults.ledger import Ledger


class LedgerServer:
    """``url`` is where pods post to; ``path`` is the file, as tests.faults.ledger reads it."""

    def __init__(self, path: Path, address: str) -> None:
        self.path = path
        self.ledger = Ledger(str(path))
        ledger = self.ledger

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                line = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kind, run, task, attempt, key, ok, _ = line
                ledger.write(kind, run, task, attempt, key, ok)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer((address, 0), Handler)
        self.url = f"http://{address}:{self.server.server_address[1]}/"


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
