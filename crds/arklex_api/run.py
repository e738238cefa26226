"""The TaskGraphRun kind: one execution of a TaskGraph, as Job is to CronJob."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from arklex_api.base import JSON, Conditions, KubeModel, Name, ObjectMeta, ObservedGeneration
from arklex_api.paths import Steps
from arklex_api.taskgraph import RunInputs, RunProgress


class ApprovalDecision(KubeModel):
    """A person's answer to an approval task; the first decision of a task wins."""

    task: Annotated[
        str, Field(min_length=1, max_length=1024, description="Path of the approval task, such as check or child/check.")
    ]
    approved: Annotated[bool, Field(description="Whether the person agrees.")]
    by: Annotated[str | None, Field(max_length=253, description="Who decided.")] = None
    data: Annotated[JSON, Field(description="What the approval's schema describes; any JSON.")] = None


class TaskGraphRunSpec(RunInputs):
    """One execution: which graph, on what; immutable but for ``cancel`` and ``approvals``."""

    graph: Annotated[Name, Field(description="The TaskGraph to run, in this namespace.")]
    cancel: Annotated[bool, Field(description="Cancel the run; finally tasks still run. It cannot be taken back.")] = False
    approvals: Annotated[
        list[ApprovalDecision], Field(max_length=100, description="Decisions, one for each approval task.")
    ] = []

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """One decision a task."""
        seen: set[str] = set()
        for index, decision in enumerate(self.approvals):
            if decision.task in seen:
                yield ("approvals", index, "task"), f"'{decision.task}' is decided twice"
            seen.add(decision.task)


class TaskGraphRunStatus(RunProgress):
    """How far the run is."""

    observed_generation: ObservedGeneration = None
    run_id: Annotated[str | None, Field(max_length=253, description="The run's id in the journal, for the command line.")] = (
        None
    )
    conditions: Conditions = []


class TaskGraphRun(KubeModel):
    """One execution of a TaskGraph."""

    api_version: Literal["arklex.ai/v1alpha1"]
    kind: Literal["TaskGraphRun"]
    metadata: ObjectMeta
    spec: Annotated[TaskGraphRunSpec, Field(description="Which graph, on what.")]
    status: Annotated[TaskGraphRunStatus | None, Field(description="How far the run is.")] = None
