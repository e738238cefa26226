"""What the environment tells ``arklex-metrics`` (decisions/0006, "Operator and metrics pods")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MANAGER = (("fieldManager", "arklex-metrics"),)
"""Query of our writes."""


@dataclass(frozen=True, slots=True)
class Options:
    """See ``read_options`` for the variables."""

    redis_url: str
    redis_password_file: Path | None
    namespaces: tuple[str, ...]
    """Whose Workers are served; all when empty."""
    pod: str
    namespace: str
    service: str
    service_port: int
    secret: str
    """Name of the Secret that holds the serving certificate."""
    port: int
    admin_port: int
    readers: frozenset[str]
    log_level: str

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names that the API server may know the server by."""
        return (f"{self.service}.{self.namespace}.svc", f"{self.service}.{self.namespace}.svc.cluster.local")


def read_options(environment: Mapping[str, str]) -> Options:
    """Options out of environment variables. Raises ValueError that names the variable to correct.

    Required: ``ARKLEX_REDIS_URL``, ``POD_NAMESPACE``. Optional: ``ARKLEX_REDIS_PASSWORD_FILE``, ``ARKLEX_NAMESPACES``
    (comma-separated), ``POD_NAME``, ``ARKLEX_METRICS_SERVICE`` (arklex-metrics), ``ARKLEX_METRICS_SERVICE_PORT`` (443),
    ``ARKLEX_METRICS_CERTIFICATE`` (arklex-metrics-tls, the Secret's name), ``ARKLEX_API_PORT`` (6443),
    ``ARKLEX_METRICS_PORT`` (9090), ``ARKLEX_METRICS_READERS`` (users besides the HPA controller who may read loads,
    comma-separated), ``ARKLEX_LOG_LEVEL`` (INFO).
    """

    def required(name: str) -> str:
        value = environment.get(name, "")
        if not value:
            raise ValueError(f"{name} is not set")
        return value

    def port(name: str, default: int) -> int:
        text = environment.get(name, "") or str(default)
        if not text.isdecimal() or not 0 <= int(text) <= 65535:
            raise ValueError(f"{name} is {text!r}: it must be a port number")
        return int(text)

    password = environment.get("ARKLEX_REDIS_PASSWORD_FILE", "")
    return Options(
        redis_url=required("ARKLEX_REDIS_URL"),
        redis_password_file=Path(password) if password else None,
        namespaces=_listed(environment.get("ARKLEX_NAMESPACES", "")),
        pod=environment.get("POD_NAME", "") or "arklex-metrics",
        namespace=required("POD_NAMESPACE"),
        service=environment.get("ARKLEX_METRICS_SERVICE", "") or "arklex-metrics",
        service_port=port("ARKLEX_METRICS_SERVICE_PORT", 443),
        secret=environment.get("ARKLEX_METRICS_CERTIFICATE", "") or "arklex-metrics-tls",
        port=port("ARKLEX_API_PORT", 6443),
        admin_port=port("ARKLEX_METRICS_PORT", 9090),
        readers=frozenset(_listed(environment.get("ARKLEX_METRICS_READERS", ""))),
        log_level=environment.get("ARKLEX_LOG_LEVEL", "").upper() or "INFO",
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
