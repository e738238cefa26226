"""The runtime: executes task graphs, embedded or on a cluster.

Every component of the architecture guide is importable from here by its name; a module is imported when its name is first
used, so that ``import arklex_runtime`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arklex_runtime.dispatch.pool import TaskExecutor, WorkerPool
    from arklex_runtime.errors import (
        ArklexError,
        AuthenticationError,
        AuthorizationError,
        RateLimitExceeded,
        TaskError,
        ToolNotFoundError,
        ValidationError,
        WorkerNotFoundError,
    )
    from arklex_runtime.observability.monitoring import Monitoring
    from arklex_runtime.orchestrator.context import ExecutionContext, Middleware, RunFailed, RunResult
    from arklex_runtime.orchestrator.facade import DependencyResolver, TaskGraphEngine
    from arklex_runtime.orchestrator.orchestrator import Orchestrator
    from arklex_runtime.scaling.autoscaler import AutoScaler
    from arklex_runtime.scaling.balancing import HealthChecker, LoadBalancer, ScalableOrchestrator
    from arklex_runtime.scaling.memory import MemoryManager, MemoryMonitor
    from arklex_runtime.scaling.processing import AsyncTaskProcessor
    from arklex_runtime.security.limits import RateLimiter
    from arklex_runtime.security.manager import SecurityManager
    from arklex_runtime.security.validation import InputValidator
    from arklex_runtime.state.cache import DatabaseCache, MemoryCache, RedisCache
    from arklex_runtime.state.levels import MultiLevelCache
    from arklex_runtime.state.manager import SQLiteDatabase, StateManager
    from arklex_runtime.state.pool import DatabaseConnectionPool
    from arklex_runtime.tools.registry import ToolRegistry
    from arklex_runtime.workers.base import TaskContext, TaskWorker

_MODULES = {
    "dispatch.pool": ("TaskExecutor", "WorkerPool"),
    "errors": (
        "ArklexError",
        "AuthenticationError",
        "AuthorizationError",
        "RateLimitExceeded",
        "TaskError",
        "ToolNotFoundError",
        "ValidationError",
        "WorkerNotFoundError",
    ),
    "observability.monitoring": ("Monitoring",),
    "orchestrator.context": ("ExecutionContext", "Middleware", "RunFailed", "RunResult"),
    "orchestrator.facade": ("DependencyResolver", "TaskGraphEngine"),
    "orchestrator.orchestrator": ("Orchestrator",),
    "scaling.autoscaler": ("AutoScaler",),
    "scaling.balancing": ("HealthChecker", "LoadBalancer", "ScalableOrchestrator"),
    "scaling.memory": ("MemoryManager", "MemoryMonitor"),
    "scaling.processing": ("AsyncTaskProcessor",),
    "security.limits": ("RateLimiter",),
    "security.manager": ("SecurityManager",),
    "security.validation": ("InputValidator",),
    "state.cache": ("DatabaseCache", "MemoryCache", "RedisCache"),
    "state.levels": ("MultiLevelCache",),
    "state.manager": ("SQLiteDatabase", "StateManager"),
    "state.pool": ("DatabaseConnectionPool",),
    "tools.registry": ("ToolRegistry",),
    "workers.base": ("TaskContext", "TaskWorker"),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ArklexError",
    "AsyncTaskProcessor",
    "AuthenticationError",
    "AuthorizationError",
    "AutoScaler",
    "DatabaseCache",
    "DatabaseConnectionPool",
    "DependencyResolver",
    "ExecutionContext",
    "HealthChecker",
    "InputValidator",
    "LoadBalancer",
    "MemoryCache",
    "MemoryManager",
    "MemoryMonitor",
    "Middleware",
    "Monitoring",
    "MultiLevelCache",
    "Orchestrator",
    "RateLimitExceeded",
    "RateLimiter",
    "RedisCache",
    "RunFailed",
    "RunResult",
    "SQLiteDatabase",
    "ScalableOrchestrator",
    "SecurityManager",
    "StateManager",
    "TaskContext",
    "TaskError",
    "TaskExecutor",
    "TaskGraphEngine",
    "TaskWorker",
    "ToolNotFoundError",
    "ToolRegistry",
    "ValidationError",
    "WorkerNotFoundError",
    "WorkerPool",
]


def __getattr__(name: str) -> Any:
    """Imports the module behind ``name`` on its first use."""
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The names there are, imported or not."""
    return sorted({*globals(), *_WHERE})
