"""The TaskGraphRun kind: one execution of a TaskGraph, as Job is to CronJob."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from arklex_api.base import JSON, Condition, KubeModel, Name, ObjectMeta
from arklex_api.taskgraph import Phase, RunInputs


class ApprovalDecision(KubeModel):
    """A person's answer to an approval task; the first decision of a task wins."""

    task: Annotated[str, Field(min_length=1, max_length=1024)]
    approved: bool
    by: Annotated[str, Field(max_length=253)] | None = None
    data: JSON = None


class TaskGraphRunSpec(RunInputs):
    """One execution: which graph, on what; immutable but for ``cancel`` and ``approvals``."""

    graph: Name
    cancel: bool = False
    approvals: Annotated[list[ApprovalDecision], Field(max_length=100)] = []


class TaskGraphRunStatus(KubeModel):
    """How far the run is."""

    observed_generation: int | None = None
    phase: Phase | None = None
    conditions: Annotated[list[Condition], Field(max_length=16)] = []


class TaskGraphRun(KubeModel):
    """One execution of a TaskGraph."""

    api_version: Literal["arklex.ai/v1alpha1"]
    kind: Literal["TaskGraphRun"]
    metadata: ObjectMeta
    spec: TaskGraphRunSpec
    status: TaskGraphRunStatus | None = None
