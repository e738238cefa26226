"""The TaskGraph kind: a workflow (design.md, "The kinds")."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from arklex_api.base import JSON, Conditions, Count, Duration, KubeModel, Name, NamedObject, ObservedGeneration, Time
from arklex_api.paths import Steps
from arklex_api.task import Task
from arklex_api.tool import HttpAuth as HttpAuth
from arklex_api.tool import HttpTool as HttpTool
from arklex_api.tool import RateLimit as RateLimit
from arklex_api.tool import Tool as Tool

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Cancelled"]
MAX_TASKS = 10_000
"""Tasks an embedded file may hold; an object on a cluster holds at most 1,000 (the CRD's bound)."""


class Input(KubeModel):
    """What a run takes: a JSON Schema (draft 2020-12) for its input."""

    schema_: Annotated[
        dict[str, JSON],
        Field(
            alias="schema",
            max_length=64,
            description="JSON Schema (draft 2020-12); properties marked writeOnly are never shown.",
        ),
    ] = {}


class RunInputs(KubeModel):
    """What one run is given."""

    query: Annotated[str | None, Field(max_length=10_000, description="The question, at most 10,000 characters.")] = None
    input: Annotated[JSON, Field(description="What the graph's input.schema describes; any JSON.")] = None
    context: Annotated[dict[str, JSON] | None, Field(max_length=256, description="What expressions read as context.")] = None
    session_id: Annotated[
        str | None,
        Field(
            min_length=1, max_length=253, description="The session whose state the run reads and writes; else one of its own."
        ),
    ] = None
    priority: Annotated[
        int | None, Field(ge=0, le=9, description="0 (last) to 9 (first) among runs that wait; 5 when absent.")
    ] = None


class Schedule(KubeModel):
    """When to run, as CronJob."""

    cron: Annotated[
        str, Field(min_length=1, max_length=128, description="Five fields as in crontab: minute, hour, day, month, weekday.")
    ]
    time_zone: Annotated[
        str | None, Field(min_length=1, max_length=64, description="IANA name such as Europe/Vienna; UTC when absent.")
    ] = None
    concurrency_policy: Annotated[
        Literal["Allow", "Forbid", "Replace"],
        Field(description="When the last run is still active: start another, skip this one, or cancel that one."),
    ] = "Allow"
    starting_deadline_seconds: Annotated[
        int | None,
        Field(ge=0, le=86400 * 366, description="Seconds within which a missed run is made up for; no bound when absent."),
    ] = None
    run: Annotated[RunInputs | None, Field(description="What each run is given. Without it spec.run.")] = None


class History(KubeModel):
    """How many finished TaskGraphRuns are kept, and how long."""

    succeeded: Annotated[int, Field(ge=0, le=1000, description="Succeeded runs to keep.")] = 3
    failed: Annotated[int, Field(ge=0, le=1000, description="Failed and cancelled runs to keep.")] = 3
    ttl: Annotated[
        Duration | None, Field(description="Age at which finished runs are deleted, as a Go duration; no bound when absent.")
    ] = None


class TaskGraphSpec(KubeModel):
    """A workflow: a directed acyclic graph of tasks."""

    input: Annotated[Input, Field(description="What a run takes.")] = Input()
    tasks: Annotated[
        list[Task], Field(min_length=1, max_length=MAX_TASKS, description="The steps. Order means nothing: dependencies do.")
    ]
    finally_: Annotated[
        list[Task],
        Field(alias="finally", max_length=100, description="Tasks that run when all others have ended, however they ended."),
    ] = []
    output: Annotated[JSON, Field(description="The run's output, once it succeeded: any JSON with ${…}.")] = None
    timeout: Annotated[Duration, Field(description="Bound of a run, waits included, as a Go duration.")] = "24h"
    finally_timeout: Annotated[Duration, Field(description="Bound of the finally tasks together, as a Go duration.")] = "5m"
    max_parallel: Annotated[
        int, Field(ge=1, le=10_000, description="Attempts of one run in progress at once, items included.")
    ] = 64
    on_failure: Annotated[
        Literal["stop", "continue"],
        Field(
            description="When a task failed: stop starts nothing new and cancels what runs, continue lets other branches go on."
        ),
    ] = "stop"
    llm: Annotated[Name | None, Field(description="The Worker of tasks that have an action and no worker.")] = None
    tools: Annotated[
        list[Tool], Field(max_length=100, description="External tools that tasks and LLM workers call by name.")
    ] = []
    run: Annotated[RunInputs | None, Field(description="Run once for each version of the graph, with these inputs.")] = None
    schedule: Annotated[Schedule | None, Field(description="Run at these times.")] = None
    suspend: Annotated[bool, Field(description="Start no further runs; active ones go on.")] = False
    history: Annotated[History, Field(description="How many finished TaskGraphRuns are kept.")] = History()

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """Tools are unique by name; a fallback task stands in the same list as the task it is for."""
        seen: set[str] = set()
        for index, tool in enumerate(self.tools):
            if tool.name in seen:
                yield ("tools", index, "name"), f"another tool is called '{tool.name}' already"
            seen.add(tool.name)
        names = {task.name for task in self.tasks}
        for index, task in enumerate(self.finally_):
            if task.fallback and task.fallback.task in names:
                yield ("finally", index, "fallback", "task"), "must be a finally task too"


class TaskCounts(KubeModel):
    """Tasks of a run by phase."""

    total: Annotated[Count, Field(description="All tasks, those of finally included.")] = 0
    pending: Annotated[Count, Field(description="Not started: their dependencies have not ended.")] = 0
    waiting: Annotated[Count, Field(description="Held by a limit, or by an approval.")] = 0
    running: Annotated[Count, Field(description="In progress, or between two attempts.")] = 0
    succeeded: Annotated[Count, Field(description="Ended well.")] = 0
    failed: Annotated[Count, Field(description="Failed for good.")] = 0
    skipped: Annotated[Count, Field(description="Not run, and why is in the run's document.")] = 0
    cancelled: Annotated[Count, Field(description="Cut short.")] = 0


class FailedTask(KubeModel):
    """One task that failed."""

    task: Annotated[str, Field(max_length=1024, description="Path of the task, such as ask, page[3] or child/ask.")]
    type: Annotated[str, Field(max_length=63, description="Type of the error, such as Timeout.")]
    message: Annotated[str, Field(max_length=1024, description="The error, cut to 1,024 characters.")] = ""
    logs: Annotated[str | None, Field(max_length=1024, description="The command that shows the task's logs.")] = None


class RunProgress(KubeModel):
    """How far a run is."""

    phase: Annotated[Phase | None, Field(description="Pending, Running, Succeeded, Failed or Cancelled.")] = None
    progress: Annotated[str | None, Field(max_length=32, description="Tasks that ended, of all: 3/5.")] = None
    start_time: Annotated[Time | None, Field(description="When the run was accepted.")] = None
    completion_time: Annotated[Time | None, Field(description="When it ended.")] = None
    duration: Annotated[str | None, Field(max_length=32, description="From start to end, or to the last change.")] = None
    message: Annotated[str | None, Field(max_length=1024, description="What is going on, or why the run failed.")] = None
    output: Annotated[str | None, Field(max_length=2048, description="The beginning of the output, as compact JSON.")] = None
    tasks: Annotated[TaskCounts | None, Field(description="Tasks by phase.")] = None
    failures: Annotated[list[FailedTask], Field(max_length=5, description="The first tasks that failed.")] = []
    approvals: Annotated[
        list[Annotated[str, Field(max_length=1024)]],
        Field(max_length=5, description="Paths of the first tasks that wait for a decision."),
    ] = []


class LastRun(RunProgress):
    """The run that was started last."""

    name: Annotated[
        str, Field(max_length=253, description="Name of the run: its TaskGraphRun, or the id of one started over HTTP.")
    ]


class RunCounts(KubeModel):
    """Runs of the graph."""

    active: Annotated[Count, Field(description="Runs that have not ended.")] = 0
    succeeded: Annotated[Count, Field(description="Runs that succeeded, those forgotten by retention included.")] = 0
    failed: Annotated[
        Count, Field(description="Runs that failed or were cancelled, those forgotten by retention included.")
    ] = 0


class TaskGraphStatus(KubeModel):
    """What is going on with the graph's runs. The operator and the runtime own different fields."""

    observed_generation: ObservedGeneration = None
    phase: Annotated[Phase | None, Field(description="Phase of the last run.")] = None
    conditions: Conditions = []
    last_run: Annotated[LastRun | None, Field(description="The run that was started last.")] = None
    runs: Annotated[RunCounts | None, Field(description="How many runs there are.")] = None
    digest: Annotated[str | None, Field(max_length=128, description="Digest of what spec.run ran last.")] = None
    last_schedule_time: Annotated[Time | None, Field(description="The time of the last scheduled run.")] = None
    next_schedule_time: Annotated[Time | None, Field(description="The time of the next scheduled run.")] = None


class TaskGraph(NamedObject):
    """A workflow of tasks over warm workers."""

    api_version: Literal["arklex.ai/v1alpha1"]
    kind: Literal["TaskGraph"]
    spec: Annotated[TaskGraphSpec, Field(description="The workflow.")]
    status: Annotated[TaskGraphStatus | None, Field(description="What is going on with its runs.")] = None
