"""A proxy before the API server: it counts writes and at the n-th does something, and lets a meddler have its way."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.apiserver.meddling import OURS, WRITES, Answer, Cut, Meddler, watches

Fault = Callable[[], object]


class Proxy:
    """Plain HTTP in, the administrator's TLS out. ``log`` holds the writes to our kinds, ``METHOD path``, as they come.

    With ``at`` n, ``fault`` is called at the n-th of them: before it is passed on if ``before``, else once it was carried out;
    either way its answer never comes back. ``meddler`` has a say in everything, ``requests`` counts all.
    """

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._context.load_cert_chain(user["client-certificate"], user["client-key"])
        self._server = urlsplit(cluster["server"])
        self._lock = threading.Lock()
        self.log: list[str] = []
        self.requests = 0
        self.at = 0
        self.before = False
        self.fault: Fault = lambda: None
        self.meddler = Meddler()

    def connect(self) -> http.client.HTTPSConnection:
        """A connection to the API server."""
        return http.client.HTTPSConnection(str(self._server.hostname), self._server.port, context=self._context, timeout=700)

    def counted(self, method: str, path: str) -> bool:
        """Count a request; whether it is the n-th write."""
        with self._lock:
            self.requests += 1
        if method not in WRITES or OURS not in path:
            return False
        with self._lock:
            self.log.append(f"{method} {path.partition('?')[0]}")
            return len(self.log) == self.at


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def handle_one_request(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, Cut):
            return super().handle_one_request()
        self.close_connection = True

    def _pass(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        meddler, hit = self.proxy.meddler, self.proxy.counted(self.command, self.path)
        if not hit and (told := meddler.instead(self.command, self.path)) is not None:
            self._answer(told)
            return
        if hit and self.proxy.before:
            self.proxy.fault()
            return
        with contextlib.closing(self.proxy.connect()) as connection:
            headers = {
                key: value for key, value in self.headers.items() if key not in ("Host", "Connection", "Accept-Encoding")
            }
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            if hit or meddler.after(self.command, self.path):
                answer.read()
                if hit:
                    self.proxy.fault()
                return
            self._head(answer.status, answer.getheader("Content-Type", "application/json"), answer.getheader("Retry-After"))
            parts = (
                meddler.watched(iter(answer.readline, b"")) if watches(self.path) else iter(lambda: answer.read1(65536), b"")
            )
            for part in parts:
                self.wfile.write(part)
                self.wfile.flush()

    def _answer(self, told: Answer) -> None:
        if told.status:
            self._head(told.status, "application/json", None if told.retry_after is None else str(told.retry_after))
            self.wfile.write(told.body)

    def _head(self, status: int, content: str, retry_after: str | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content)
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.send_header("Connection", "close")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def proxy(kubeconfig: Path, folder: Path) -> Iterator[tuple[Proxy, Path]]:
    """Run one; it and the kubeconfig that leads to it."""
    found = Proxy(kubeconfig)
    handler = type("Handler", (_Handler,), {"proxy": found})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
            "current-context": "proxy",
        }
        path = folder / "proxy.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        try:
            yield found, path
        finally:
            server.shutdown()
