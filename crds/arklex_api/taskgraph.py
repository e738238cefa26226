"""The TaskGraph kind: a workflow (design.md, "The kinds")."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from arklex_api.base import JSON, Condition, Duration, KubeModel, Name, ObjectMeta, SecretKeyRef, Text
from arklex_api.task import Task

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Cancelled"]
MAX_TASKS = 10_000
"""Tasks an embedded file may hold; an object on a cluster holds at most 1,000 (the CRD's bound)."""


class Input(KubeModel):
    """What a run takes: a JSON Schema (draft 2020-12) for its input."""

    schema_: Annotated[dict[str, JSON], Field(alias="schema")] = {}


class HttpAuth(KubeModel):
    """The Secret whose key holds the value of the Authorization header (``Bearer`` is added to a bare token)."""

    secret_ref: SecretKeyRef


class HttpTool(KubeModel):
    """An HTTP call; url, headers and body may hold ``${…}`` over ``input``, the task's resolved ``with``."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Annotated[str, Field(min_length=1, max_length=2048)]
    headers: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] = {}
    body: JSON = None
    auth: HttpAuth | None = None


class RateLimit(KubeModel):
    """At most requestsPerMinute in any 60 s and burst in any 1 s (the guide's RateLimiter)."""

    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)]
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class Tool(KubeModel):
    """An external tool that tasks (and LLM workers) call by name."""

    name: Name
    description: Text = ""
    http: HttpTool
    input_schema: dict[str, JSON] | None = None
    timeout: Duration = "30s"
    rate_limit: RateLimit | None = None
    worker: Name | None = None


class RunInputs(KubeModel):
    """What one run is given."""

    query: Annotated[str, Field(max_length=10_000)] | None = None
    input: JSON = None
    context: dict[str, JSON] | None = None
    session_id: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    priority: Annotated[int, Field(ge=0, le=9)] | None = None


class Schedule(KubeModel):
    """When to run, as CronJob."""

    cron: Annotated[str, Field(min_length=1, max_length=128)]
    time_zone: Annotated[str, Field(max_length=64)] | None = None
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = "Allow"
    starting_deadline_seconds: Annotated[int, Field(ge=0, le=86400 * 366)] | None = None
    run: RunInputs | None = None


class History(KubeModel):
    """How many finished TaskGraphRuns are kept, and how long."""

    succeeded: Annotated[int, Field(ge=0, le=1000)] = 3
    failed: Annotated[int, Field(ge=0, le=1000)] = 3
    ttl: Duration | None = None


class TaskGraphSpec(KubeModel):
    """A workflow: a directed acyclic graph of tasks."""

    input: Input = Input()
    tasks: Annotated[list[Task], Field(min_length=1, max_length=MAX_TASKS)]
    finally_: Annotated[list[Task], Field(alias="finally", max_length=100)] = []
    output: JSON = None
    timeout: Duration = "24h"
    finally_timeout: Duration = "5m"
    max_parallel: Annotated[int, Field(ge=1, le=10_000)] = 64
    on_failure: Literal["stop", "continue"] = "stop"
    llm: Name | None = None
    tools: Annotated[list[Tool], Field(max_length=100)] = []
    run: RunInputs | None = None
    schedule: Schedule | None = None
    suspend: bool = False
    history: History = History()


class TaskGraphStatus(KubeModel):
    """What is going on with the graph's runs."""

    observed_generation: int | None = None
    phase: Phase | None = None
    conditions: Annotated[list[Condition], Field(max_length=16)] = []


class TaskGraph(KubeModel):
    """A workflow of tasks over warm workers."""

    api_version: Literal["arklex.ai/v1alpha1"]
    kind: Literal["TaskGraph"]
    metadata: ObjectMeta
    spec: TaskGraphSpec
    status: TaskGraphStatus | None = None
