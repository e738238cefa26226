"""Makes the worker that a Worker manifest describes."""

from __future__ import annotations

from arklex_api.problems import ManifestError, Problem
from arklex_api.worker import Worker
from arklex_runtime.workers.base import TaskWorker, WorkerServices
from arklex_runtime.workers.imports import HandlerError

EMBEDDED_TYPES = ("custom", "llm")
"""The types of worker that run embedded in this version."""


def build_worker(worker: Worker, services: WorkerServices) -> TaskWorker:
    """The worker behind ``worker``; it connects to nothing before its first task.

    Raises ManifestError, with the field's path, for a type that is not embedded yet, a handler that cannot be imported, a
    provider that is unknown or not installed, and a secret that is missing.
    """
    spec = worker.spec
    if spec.type == "custom":
        from arklex_runtime.workers.custom import load_custom

        try:
            return load_custom(spec.config)
        except HandlerError as error:
            raise _refused(worker, "spec.config.handler", "HandlerInvalid", str(error)) from error
    if spec.type == "llm":
        if spec.llm is None:
            raise _refused(worker, "spec.llm", "Required", "a worker of type llm needs spec.llm with provider and model")
        from arklex_runtime.workers.llm.build import LLMConfigError, build_llm

        try:
            return build_llm(spec.llm, spec.config, services)
        except LLMConfigError as error:
            raise _refused(worker, f"spec.{error.field}", error.reason, str(error)) from error
    raise _refused(
        worker,
        "spec.type",
        "NotEmbedded",
        f"type {spec.type!r} does not yet run embedded in this version: use {' or '.join(EMBEDDED_TYPES)}",
    )


def _refused(worker: Worker, path: str, reason: str, message: str) -> ManifestError:
    return ManifestError([Problem(path, reason, f"Worker {worker.metadata.name!r}: {message}")])
