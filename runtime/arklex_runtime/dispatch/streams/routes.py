"""Where an attempt goes: the Worker's stream, what it may call, what limits it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from arklex_api.tool import RateLimit
from arklex_api.worker import CircuitBreaker


@dataclass(slots=True, eq=False)
class Route:
    """Made once for each Worker or tool of a program. ``tools`` are definitions as in ``spec.tools``, for the pod."""

    namespace: str
    worker: str
    breaker: CircuitBreaker | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    limit: RateLimit | None = None
