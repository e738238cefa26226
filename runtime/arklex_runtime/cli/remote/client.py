"""A runtime's HTTP door, called from the command line (docs/decisions/0006, "The door")."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from arklex_api.problems import ManifestError, Problem
from arklex_runtime.cli.failures import Refused
from arklex_runtime.errors import ArklexError

PATIENCE = 30.0
"""Seconds to wait for an answer."""


class Unreachable(ArklexError):
    """The door does not answer, or cannot now: trying again may help."""

    reason = "Unavailable"
    retryable = True
    exit_code = 3


@dataclass(frozen=True, slots=True)
class Server:
    """Where the door is, and who asks; ``namespace`` is whose runs are meant."""

    url: str
    token: str
    namespace: str = "default"

    @classmethod
    def of(cls, url: str, namespace: str, token_file: str | None) -> Server:
        """From options and the environment (``ARKLEX_TOKEN``). Raises Refused, OSError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Refused.of("--server", "Invalid", f"'{url}' is no address: write it like https://arklex.example.com")
        token = Path(token_file).read_text().strip() if token_file else os.environ.get("ARKLEX_TOKEN", "")
        if not token:
            raise Refused.of("--token-file", "Required", "the door asks for a token: give --token-file, or set ARKLEX_TOKEN")
        return cls(url.rstrip("/"), token, namespace)

    def path(self, *parts: str, **query: object) -> str:
        """A path below the namespace, each part escaped; absent values of ``query`` are left out."""
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        whole = "/".join(("/v1/namespaces", quote(self.namespace, safe=""), *(quote(part, safe="") for part in parts)))
        return f"{whole}?{asked}" if asked else whole

    def get(self, path: str) -> Any:
        """The answer's JSON. Raises Unreachable, ManifestError for what the door refuses."""
        return self._call("GET", path)

    def post(self, path: str, body: Mapping[str, Any], key: str | None = None) -> Any:
        """The answer's JSON; with ``key`` (Idempotency-Key) it may be asked again. Raises as ``get`` does."""
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        return self._call("POST", path, json.dumps(body), headers)

    def _call(self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> Any:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.netloc, timeout=PATIENCE)
        try:
            authorized = {"Authorization": f"Bearer {self.token}", **(headers or {})}
            connection.request(method, parts.path + path, body, authorized)
            answer = connection.getresponse()
            status, found = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.url} does not answer: {error or type(error).__name__}") from None
        finally:
            connection.close()
        if status >= 300:
            raise _refusal(status, found)
        try:
            return json.loads(found)
        except ValueError:
            raise Unreachable(f"{self.url} answers, and not as arklex's door does: is --server right?") from None


def _refusal(status: int, body: bytes) -> Exception:
    """The problem document (RFC 9457) as what the command line reports."""
    try:
        document = json.loads(body)
        detail, found = str(document.get("detail") or document["title"]), document.get("errors") or []
    except (ValueError, TypeError, AttributeError, KeyError):
        return Unreachable(f"the server answers {status}, and not as arklex's door does: is --server right?")
    if status in (429, 500, 502, 503, 504):
        return Unreachable(detail)
    reason = str(document.get("type") or "").rsplit("/", 1)[-1].rsplit(":", 1)[-1] or str(status)
    problems = [Problem(str(e.get("path", "")), str(e.get("reason", reason)), str(e.get("message", detail))) for e in found]
    return ManifestError(problems or [Problem("", _camel(reason), detail)])


def _camel(slug: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in slug.split("-"))
