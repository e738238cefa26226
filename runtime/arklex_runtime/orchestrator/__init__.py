"""Coordinates runs: accepts them, drives the engine, journals, dispatches (the guide's Orchestrator)."""

from arklex_runtime.orchestrator.context import ExecutionContext, Middleware, RunFailed, RunResult
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.orchestrator import Orchestrator
from arklex_runtime.orchestrator.requests import Request

__all__ = ["ExecutionContext", "Middleware", "Orchestrator", "Request", "RunFailed", "RunHost", "RunResult"]
