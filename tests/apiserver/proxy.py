"""A proxy before the API server that counts writes, and at the n-th does something: ends the operator before or after it."""

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

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OURS = frozenset({"Host", "Connection", "Accept-Encoding"})
Fault = Callable[[], object]


class Proxy:
    """Plain HTTP in, the administrator's TLS out. ``log`` holds the writes to our kinds, ``METHOD path``, as they come.

    With ``at`` n, ``fault`` is called at the n-th of them: before it is passed on if ``before``, else once it was carried out;
    either way its answer never comes back.
    """

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._context.load_cert_chain(user["client-certificate"], user["client-key"])
        self._server = urlsplit(cluster["server"])
        self._lock = threading.Lock()
        self.log: list[str] = []
        self.at = 0
        self.before = False
        self.fault: Fault = lambda: None

    def connect(self) -> http.client.HTTPSConnection:
        """A connection to the API server."""
        return http.client.HTTPSConnection(str(self._server.hostname), self._server.port, context=self._context, timeout=700)

    def counted(self, method: str, path: str) -> bool:
        """Count a write; whether it is the n-th."""
        if method not in WRITES or "/apis/arklex.ai/" not in path:
            return False
        with self._lock:
            self.log.append(f"{method} {path.partition('?')[0]}")
            return len(self.log) == self.at


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            return super().handle_one_request()
        self.close_connection = True

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hit = self.proxy.counted(self.command, self.path)
        self.close_connection = True
        if hit and self.proxy.before:
            self.proxy.fault()
            return
        connection = self.proxy.connect()
        try:
            headers = {
                key: value for key, value in self.headers.items() if key not in ("Host", "Connection", "Accept-Encoding")
            }
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            if hit:
                answer.read()
                self.proxy.fault()
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
            self.send_header("Connection", "close")
            self.end_headers()
            while part := answer.read1(65536):
                self.wfile.write(part)
                self.wfile.flush()
        finally:
            connection.close()

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
