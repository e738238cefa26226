"""What the operator is told by its environment (docs/decisions/0006). Pure: reading files is left to whoever needs them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

ACL_MODES = ("managed", "static", "off")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")

_T = TypeVar("_T")


class SettingsError(ValueError):
    """An environment variable that cannot be used; the message names it, and what to write."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings. Times are seconds.

    ``namespaces`` empty means all. ``images`` are by worker type. ``lease`` is the lease of worker pods; ``leader_lease`` the
    name of the Lease object that elects a leader.
    """

    redis_url: str = ""
    redis_password_file: Path | None = None
    worker_redis_url: str = ""
    redis_acl: str = "managed"
    namespaces: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    image_pull_policy: str = "IfNotPresent"
    api_server_cidrs: tuple[str, ...] = ()
    lease: float = 10.0
    max_rolling: float = 0.1
    pod_name: str = "arklex-operator"
    pod_namespace: str = "default"
    leader_lease: str = "arklex-operator"
    leader_seconds: float = 15.0
    health_port: int = 8081
    metrics_port: int = 9090
    log_level: str = "INFO"

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """The settings in ``environment``; absent or empty variables leave the defaults. Raises SettingsError."""
        redis_url = _get(environment, "ARKLEX_REDIS_URL", _url, "")
        if not redis_url:
            raise SettingsError("ARKLEX_REDIS_URL is not set: write it like redis://host:6379/0")
        password_file = environment.get("ARKLEX_REDIS_PASSWORD_FILE")
        return cls(
            redis_url=redis_url,
            redis_password_file=Path(password_file) if password_file else None,
            worker_redis_url=_get(environment, "ARKLEX_WORKER_REDIS_URL", _url, redis_url),
            redis_acl=_get(environment, "ARKLEX_REDIS_ACL", _one_of(ACL_MODES), "managed"),
            namespaces=_get(environment, "ARKLEX_NAMESPACES", _words, ()),
            images=_get(environment, "ARKLEX_IMAGES", _images, {}),
            image_pull_policy=_get(environment, "ARKLEX_IMAGE_PULL_POLICY", _one_of(PULL_POLICIES), "IfNotPresent"),
            api_server_cidrs=_get(environment, "ARKLEX_API_SERVER_CIDRS", _words, ()),
            lease=_get(environment, "ARKLEX_LEASE_SECONDS", _between(1, 600), 10.0),
            max_rolling=_get(environment, "ARKLEX_MAX_ROLLING", _between(0, 1), 0.1),
            pod_name=environment.get("POD_NAME") or "arklex-operator",
            pod_namespace=environment.get("POD_NAMESPACE") or "default",
            leader_lease=environment.get("ARKLEX_LEADER_LEASE") or "arklex-operator",
            leader_seconds=_get(environment, "ARKLEX_LEADER_SECONDS", _between(1, 300), 15.0),
            health_port=_get(environment, "ARKLEX_HEALTH_PORT", _port, 8081),
            metrics_port=_get(environment, "ARKLEX_METRICS_PORT", _port, 9090),
            log_level=(environment.get("ARKLEX_LOG_LEVEL") or "INFO").upper(),
        )


def _get(environment: Mapping[str, str], name: str, read: Callable[[str], _T], default: _T) -> _T:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        return read(text)
    except ValueError as error:
        raise SettingsError(f"{name} is {text!r}: {error}") from error


def _url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("redis", "rediss") or not url.hostname:
        raise ValueError("write it like redis://host:6379/0")
    return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _images(text: str) -> dict[str, str]:
    value: Any = json.loads(text)
    if not isinstance(value, dict) or not all(isinstance(each, str) and each for each in value.values()):
        raise ValueError('write JSON of worker type and image, like {"llm": "arklex/worker:1.0"}')
    return value


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"write one of {', '.join(words)}")
        return text

    return read


def _between(lowest: float, highest: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        number = float(text)
        if not lowest <= number <= highest:
            raise ValueError(f"write a number from {lowest:g} to {highest:g}")
        return number

    return read


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError("write a port from 0 (any) to 65535")
    return number
