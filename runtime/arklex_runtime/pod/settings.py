"""What a pod is told by its environment and files (docs/decisions/0006, "Worker pods")."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from arklex_api.base import API_VERSION
from arklex_api.worker import Worker
from arklex_runtime.dispatch.streams.link import Address

CONNECTION = "/var/run/arklex/connection"
SECRETS = "/var/run/arklex/secrets"
PORT = 9090
LEASE = 10.0


class SettingsError(ValueError):
    """The environment does not make a worker; the words name the variable or file and the fix."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One pod. ``lease`` is in seconds; ``port`` is where metrics and probes are served, 0 for any."""

    worker: Worker
    namespace: str
    pod: str
    node: str
    address: Address
    secrets: Path
    lease: float = LEASE
    port: int = PORT

    @property
    def name(self) -> str:
        """The Worker's name."""
        return self.worker.metadata.name


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises SettingsError."""
    name, namespace = _need(environ, "ARKLEX_WORKER"), environ.get("POD_NAMESPACE", "default")
    return Settings(
        _worker(name, namespace, _need(environ, "ARKLEX_WORKER_SPEC")),
        namespace,
        environ.get("POD_NAME") or socket.gethostname(),
        environ.get("NODE_NAME", ""),
        _address(Path(environ.get("ARKLEX_CONNECTION_DIR", CONNECTION))),
        Path(environ.get("ARKLEX_SECRETS_DIR", SECRETS)),
        _number(environ, "ARKLEX_LEASE_SECONDS", LEASE, 0.5),
        int(_number(environ, "ARKLEX_METRICS_PORT", PORT, 0)),
    )


def _need(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise SettingsError(f"{name} is not set: a worker pod is started by arklex-operator, which sets it")
    return value


def _number(environ: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = environ.get(name)
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if value < least:
        raise SettingsError(f"{name} is {text!r}: give a number of at least {least:g}")
    return value


def _worker(name: str, namespace: str, text: str) -> Worker:
    try:
        spec = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"ARKLEX_WORKER_SPEC is not JSON: {error}") from None
    body = {
        "apiVersion": API_VERSION,
        "kind": "Worker",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    try:
        return Worker.model_validate(body, extra="ignore")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"ARKLEX_WORKER_SPEC: {where}: {first['msg']}") from None


def _address(folder: Path) -> Address:
    texts = {}
    for key in ("url", "username", "password"):
        try:
            texts[key] = (folder / key).read_text().strip()
        except FileNotFoundError:
            texts[key] = ""
        except OSError as error:
            raise SettingsError(f"{folder / key} cannot be read: {error}") from None
    if not texts["url"]:
        raise SettingsError(f"{folder / 'url'} is missing: the Secret arklex-connection has the keys url, username, password")
    try:
        return Address.of(texts["url"], texts["username"] or None, texts["password"] or None)
    except ValueError as error:
        raise SettingsError(f"{folder / 'url'}: {error}") from None


class SecretFolder(Mapping[str, Mapping[str, str]]):
    """Secrets as Kubernetes mounts them, ``<folder>/<secret>/<key>``; read when asked for, since they may be rotated."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Mapping[str, str]:
        found = {path.name: _text(path) for path in _children(self._folder / name) if path.is_file()}
        if not found:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter([path.name for path in _children(self._folder) if path.is_dir()])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _children(folder: Path) -> list[Path]:
    """Without the dotted links that the kubelet swaps at a rotation."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
