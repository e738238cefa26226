"""The guide's LoadBalancer, HealthChecker and ScalableOrchestrator."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol

from arklex_runtime.errors import ArklexError, Overloaded
from arklex_runtime.scaling.autoscaler import AutoScaler
from arklex_runtime.scaling.client import RuntimeClient


class HealthChecker:
    """Remembers which instances failed; each counts as healthy again after a time that doubles while it keeps failing."""

    def __init__(
        self, recovery_seconds: float = 5.0, max_recovery_seconds: float = 60.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``clock`` is in seconds and never goes back."""
        self._recovery = recovery_seconds
        self._longest = max_recovery_seconds
        self._clock = clock
        self._failed: dict[Hashable, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def mark_unhealthy(self, instance: Hashable) -> None:
        """``instance`` failed: it is left alone for a while."""
        with self._lock:
            count = self._failed.get(instance, (0, 0.0))[0] + 1
            pause = min(self._longest, self._recovery * 2 ** min(count - 1, 30))
            self._failed[instance] = (count, self._clock() + pause)

    def mark_healthy(self, instance: Hashable) -> None:
        """``instance`` answered: what it did before is forgotten."""
        with self._lock:
            self._failed.pop(instance, None)

    def is_healthy(self, instance: Hashable) -> bool:
        """Whether ``instance`` may be asked; after its pause it may be tried again."""
        return self.healthy_in(instance) <= 0

    def healthy_in(self, instance: Hashable) -> float:
        """Seconds until ``instance`` may be asked again, 0.0 if now."""
        with self._lock:
            failed = self._failed.get(instance)
            return 0.0 if failed is None else max(0.0, failed[1] - self._clock())


class LoadBalancer:
    """Goes around the instances in turn, past those that are not healthy."""

    def __init__(self, instances: Sequence[Any] = (), health_checker: HealthChecker | None = None) -> None:
        """``instances`` are any hashable things, e.g. orchestrators or base URLs."""
        self.health_checker = health_checker or HealthChecker()
        self._instances = list(instances)
        self._next = 0
        self._lock = threading.Lock()

    @property
    def instances(self) -> list[Any]:
        """All instances, healthy or not."""
        return list(self._instances)

    def add_instance(self, instance: Any) -> None:
        """Another instance to choose from."""
        with self._lock:
            self._instances.append(instance)

    def remove_instance(self, instance: Any) -> None:
        """An instance that is no more. Raises ValueError for one that never was."""
        with self._lock:
            self._instances.remove(instance)

    def get_next_healthy(self) -> Any:
        """The next instance. Raises Overloaded, with ``retry_after``, where none is healthy."""
        with self._lock:
            if not self._instances:
                raise Overloaded("there is no instance")
            count = len(self._instances)
            for step in range(count):
                at = (self._next + step) % count
                if self.health_checker.is_healthy(self._instances[at]):
                    self._next = (at + 1) % count
                    return self._instances[at]
            wait = min(self.health_checker.healthy_in(instance) for instance in self._instances)
        raise Overloaded(f"none of {count} instances is healthy", retry_after=wait)


class RunRequest(Protocol):
    """What is to be run; ``context`` too, where there is one."""

    @property
    def task_graph(self) -> Any:
        """A TaskGraph; for base URLs its name."""
        ...

    @property
    def query(self) -> str:
        """The user's question."""
        ...


class ScalableOrchestrator:
    """Runs requests on several orchestrators, another one where one fails, at most ``max_attempts`` in all.

    ``config``: ``instances`` (Orchestrators, or base URLs of the runtime's HTTP API, which take ``api_key``), ``max_attempts``
    (3), ``recovery_seconds`` (5), and the AutoScaler's. A refusal (ArklexError that is not retryable, ManifestError …) is
    the request's own fault and is raised as it is: no other instance would do better. A request that is tried again may
    have run in part: tasks' idempotency keys differ between runs.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.health_checker = HealthChecker(config.get("recovery_seconds", 5.0))
        key = config.get("api_key")
        instances = [RuntimeClient(each, key) if isinstance(each, str) else each for each in config.get("instances", ())]
        self.load_balancer = LoadBalancer(instances, self.health_checker)
        self.auto_scaler = AutoScaler(config)
        self.max_attempts: int = config.get("max_attempts", 3)
        if self.max_attempts < 1:
            raise ValueError("max_attempts must be at least 1")

    def handle_request(self, request: RunRequest) -> Any:
        """The run's result. Raises the last failure after ``max_attempts``, and Overloaded where no instance is healthy."""
        for attempt in range(1, self.max_attempts + 1):
            instance = self.load_balancer.get_next_healthy()
            try:
                result = instance.run(request.task_graph, request.query, getattr(request, "context", None))
            except Exception as error:
                if not _worth_another(error):
                    raise
                self.health_checker.mark_unhealthy(instance)
                if attempt == self.max_attempts:
                    raise
            else:
                self.health_checker.mark_healthy(instance)
                return result
        raise AssertionError("unreachable: the last attempt returns or raises")


def _worth_another(error: Exception) -> bool:
    """Whether another instance may do better: not where the request itself is refused."""
    if isinstance(error, ArklexError):
        return error.retryable is not False
    return not isinstance(error, ValueError | TypeError)
