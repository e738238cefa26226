"""The API server over one connection, as bare HTTP: what it answers to which bytes, with neither client library nor kubectl."""

from __future__ import annotations

import http.client
import json
import ssl
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from arklex_api.base import API_VERSION, GROUP
from arklex_api.crd.columns import KINDS

PLURALS = {info.kind: info.plural for info in KINDS}
PREFIX = f"/apis/{API_VERSION}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the API server said: status code and document."""

    code: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        """What is wrong, if anything."""
        return str(self.body.get("message", ""))


class Api:
    """The administrator's connection."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        context.load_cert_chain(user["client-certificate"], user["client-key"])
        server = urlsplit(cluster["server"])
        self._connection = http.client.HTTPSConnection(str(server.hostname), server.port, context=context, timeout=60)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Reply:
        """Send ``body`` (bytes as they are, else as JSON); returns the answer whatever it is."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        code, text = self._send(method, path, data, kind)
        return Reply(code, json.loads(text) if text else {})

    def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The bytes of an answer, whatever they are."""
        return self._send(method, path, body, "application/json")[1]

    def _send(self, method: str, path: str, body: bytes | None, kind: str) -> tuple[int, bytes]:
        """Status and bytes of an answer. A connection that the server has closed meanwhile is opened again, once."""
        for first in (True, False):
            try:
                self._connection.request(method, path, body=body, headers={"Content-Type": kind, "Accept": "application/json"})
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except (http.client.HTTPException, OSError) as error:
                self._connection.close()
                if not first or not isinstance(error, http.client.RemoteDisconnected | ConnectionError | ssl.SSLError):
                    raise
        raise AssertionError("unreachable: the second try returns or raises")

    def namespace(self) -> str:
        """A new namespace; returns its name."""
        name = f"t-{uuid.uuid4().hex[:10]}"
        assert self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}}).code == 201
        return name

    def create(self, namespace: str, manifest: dict[str, Any], *, dry_run: bool = False, strict: bool = True) -> Reply:
        """Create one of our objects; ``strict`` refuses unknown fields, as kubectl asks for."""
        query = f"?fieldValidation={'Strict' if strict else 'Ignore'}" + ("&dryRun=All" if dry_run else "")
        return self.call("POST", self.path(namespace, manifest["kind"]) + query, manifest)

    def get(self, namespace: str, kind: str, name: str) -> dict[str, Any]:
        """One of our objects."""
        answer = self.call("GET", self.path(namespace, kind, name))
        assert answer.code == 200, answer
        return answer.body

    def put(self, namespace: str, manifest: dict[str, Any]) -> Reply:
        """Replace one of our objects."""
        return self.call("PUT", self.path(namespace, manifest["kind"], manifest["metadata"]["name"]), manifest)

    @staticmethod
    def path(namespace: str, kind: str, name: str = "", part: str = "") -> str:
        """Where an object of ours, or all of a kind, are found."""
        return "/".join(each for each in (PREFIX, "namespaces", namespace, PLURALS[kind], name, part) if each)


def manifest(kind: str, name: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    """One of our objects."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def crd_name(kind: str) -> str:
    """The name of a kind's CustomResourceDefinition."""
    return f"{PLURALS[kind]}.{GROUP}"
