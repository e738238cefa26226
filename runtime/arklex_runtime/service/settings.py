"""What a replica is told by its environment and files (docs/decisions/0006, "Runtime pods")."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from arklex_api import durations
from arklex_runtime.dispatch.streams.link import Address

DAY = 86400.0
_DAYS = re.compile(r"^(\d+(?:\.\d+)?)d$")


class SettingsError(ValueError):
    """The environment does not make a runtime; the words name the variable or file and the fix."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One replica. Times are in seconds; ports are 0 for any. ``namespaces`` is empty for all.

    ``manifests`` is a folder or file that is read once, in place of an API server; ``kubeconfig`` is for outside a cluster.
    """

    journal: str
    redis: Address
    token: Path
    namespaces: tuple[str, ...] = ()
    lease: float = 10.0
    succeeded: float = 7 * DAY
    failed: float = 30 * DAY
    writes_per_second: int = 20
    pod: str = "arklex-runtime"
    namespace: str = "default"
    most_runs: int = 5000
    park_after: float = 60.0
    door_port: int = 8080
    ops_port: int = 9090
    manifests: Path | None = None
    kubeconfig: Path | None = None


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises SettingsError."""
    token = _need(environ, "ARKLEX_DOOR_TOKEN_FILE", "name the file that holds the door's bearer token")
    manifests, kubeconfig = environ.get("ARKLEX_MANIFESTS"), environ.get("ARKLEX_KUBECONFIG")
    return Settings(
        _journal(environ),
        _redis(environ),
        Path(token),
        tuple(dict.fromkeys(name.strip() for name in environ.get("ARKLEX_NAMESPACES", "").split(",") if name.strip())),
        _number(environ, "ARKLEX_LEASE_SECONDS", 10.0, 0.5),
        age(environ.get("ARKLEX_RETENTION_SUCCEEDED") or "7d", "ARKLEX_RETENTION_SUCCEEDED"),
        age(environ.get("ARKLEX_RETENTION_FAILED") or "30d", "ARKLEX_RETENTION_FAILED"),
        int(_number(environ, "ARKLEX_WRITES_PER_SECOND", 20, 1)),
        environ.get("POD_NAME") or socket.gethostname(),
        environ.get("POD_NAMESPACE") or "default",
        int(_number(environ, "ARKLEX_MAX_RUNS", 5000, 1)),
        _number(environ, "ARKLEX_PARK_SECONDS", 60.0, 0.1),
        int(_number(environ, "ARKLEX_DOOR_PORT", 8080, 0)),
        int(_number(environ, "ARKLEX_METRICS_PORT", 9090, 0)),
        Path(manifests) if manifests else None,
        Path(kubeconfig) if kubeconfig else None,
    )


def _need(environ: Mapping[str, str], name: str, fix: str) -> str:
    value = environ.get(name)
    if not value:
        raise SettingsError(f"{name} is not set: {fix}")
    return value


def _text(path: str, name: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsError(f"{name}: {path} cannot be read: {error.strerror or error}") from None


def _journal(environ: Mapping[str, str]) -> str:
    file = environ.get("ARKLEX_JOURNAL_URL_FILE")
    url = _text(file, "ARKLEX_JOURNAL_URL_FILE") if file else environ.get("ARKLEX_JOURNAL_URL", "")
    if not url:
        raise SettingsError(
            "ARKLEX_JOURNAL_URL or ARKLEX_JOURNAL_URL_FILE must give the journal: postgresql://… or sqlite:///…"
        )
    return url


def _redis(environ: Mapping[str, str]) -> Address:
    url = _need(environ, "ARKLEX_REDIS_URL", "give redis://host:6379/0")
    file = environ.get("ARKLEX_REDIS_PASSWORD_FILE")
    try:
        return Address.of(url, password=_text(file, "ARKLEX_REDIS_PASSWORD_FILE") or None if file else None)
    except ValueError as error:
        raise SettingsError(f"ARKLEX_REDIS_URL: {error}") from None


def age(text: str, name: str) -> float:
    """Seconds of a Go duration, or of days (``7d``). Raises SettingsError naming ``name``."""
    days = _DAYS.match(text)
    try:
        seconds = float(days[1]) * DAY if days else durations.seconds(text)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}, or 7d") from None
    if seconds <= 0:
        raise SettingsError(f"{name}: {text!r} must be positive")
    return seconds


def _number(environ: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = environ.get(name)
    try:
        value = float(text) if text else default
    except ValueError:
        value = float("nan")
    if not least <= value < 1e9:
        raise SettingsError(f"{name} is {text!r}: give a number of at least {least:g}")
    return value
