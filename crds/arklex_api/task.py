"""One task of a TaskGraph (semantics.md, "Kinds of task" and "Failure")."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from arklex_api.base import JSON, Duration, KubeModel, Name, Text

OnError = Literal["fail", "continue"]


class ForEach(KubeModel):
    """Runs the task once for each item of a list; results keep the list's order."""

    items: JSON
    as_: Annotated[str, Field(alias="as", max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "item"
    max_parallel: Annotated[int, Field(ge=1, le=10000)] | None = None


class Backoff(KubeModel):
    """Delay before retry n: min(max, initial * factor**(n-1)), plus or minus the share ``jitter``."""

    initial: Duration = "1s"
    factor: Annotated[float, Field(ge=1, le=100)] = 2
    max: Duration = "1m"
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.1


class Retry(KubeModel):
    """How often a failed attempt runs again, for which errors, and how long after."""

    limit: Annotated[int, Field(ge=0, le=100)] = 0
    errors: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(min_length=1, max_length=32)] | None = None
    backoff: Backoff = Backoff()
    lost_limit: Annotated[int, Field(ge=0, le=100)] = 5


class Fallback(KubeModel):
    """What takes a failed task's place: a value, another worker, or another task."""

    value: JSON = None
    worker: Name | None = None
    action: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    with_: Annotated[JSON, Field(alias="with")] = None
    task: Name | None = None


class Approval(KubeModel):
    """A person decides; ``schema`` is the JSON Schema of the data they give."""

    message: Text = ""
    timeout: Duration | None = None
    schema_: Annotated[dict[str, JSON] | None, Field(alias="schema")] = None


class Cache(KubeModel):
    """Reuse of a result by content; ``key`` replaces the task's inputs in the hash."""

    ttl: Duration
    key: JSON = None


class Task(KubeModel):
    """One step: exactly one of worker/action, tool, graph, approval, value."""

    name: Name
    worker: Name | None = None
    action: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    tool: Name | None = None
    graph: Name | None = None
    approval: Approval | None = None
    value: JSON = None
    with_: Annotated[JSON, Field(alias="with")] = None
    depends_on: Annotated[list[Name], Field(max_length=1000)] = []
    when: Text | None = None
    for_each: ForEach | None = None
    retry: Retry = Retry()
    timeout: Duration | None = None
    fallback: Fallback | None = None
    cache: Cache | None = None
    on_error: OnError = "fail"
    save_state: dict[str, JSON] | None = None
