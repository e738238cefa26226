"""One task of a TaskGraph (semantics.md, "Kinds of task" and "Failure")."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from arklex_api.base import JSON, Duration, KubeModel, Name, Text
from arklex_api.paths import Steps

OnError = Literal["fail", "continue"]
MAX_ITEMS = 10_000
"""Items of one forEach."""

ROOTS = ("input", "query", "context", "session", "tasks", "run", "index")
"""What expressions read; an item of forEach has another name."""

RESERVED = re.compile(
    r"(as|break|const|continue|else|false|for|function|if|import|in|let|loop|namespace|null|package|return|true|var|void|while)\Z"
)
"""Words that CEL keeps for itself."""

Action = Annotated[str, Field(min_length=1, max_length=63)]
ErrorType = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")]


class ForEach(KubeModel):
    """Runs the task once for each item of a list; results keep the list's order."""

    items: Annotated[JSON, Field(description="A list, or one ${…} that gives a list; at most 10,000 items.")]
    as_: Annotated[
        str,
        Field(alias="as", min_length=1, max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
              description="Name of the item in expressions; its position is index."),
    ] = "item"  # fmt: skip
    max_parallel: Annotated[
        int | None,
        Field(ge=1, le=10_000, description="Items in progress at once. Without it the graph's maxParallel bounds them."),
    ] = None

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """The item's name must not hide another, and a literal list has its bound."""
        if self.as_ in ROOTS:
            yield ("as",), f"'{self.as_}' is taken in expressions ({', '.join(ROOTS)}): choose another name"
        elif RESERVED.match(self.as_):
            yield ("as",), f"'{self.as_}' is a reserved word of CEL: choose another name"
        if isinstance(self.items, list) and len(self.items) > MAX_ITEMS:
            yield ("items",), f"has {len(self.items)} entries; at most {MAX_ITEMS} are allowed"
        elif not isinstance(self.items, (list, str)):
            yield ("items",), "must be a list, or one ${…} that gives a list"


class Backoff(KubeModel):
    """Delay before retry n: min(max, initial * factor**(n-1)), plus or minus the share ``jitter``."""

    initial: Annotated[Duration, Field(description="Delay before the first retry, as a Go duration.")] = "1s"
    factor: Annotated[float, Field(ge=1, le=100, description="How much longer each further delay is.")] = 2
    max: Annotated[Duration, Field(description="The longest delay, as a Go duration.")] = "1m"
    jitter: Annotated[float, Field(ge=0, le=1, description="Random share, from 0 to 1, added to or taken from each delay.")] = (
        0.1
    )


class Retry(KubeModel):
    """How often a failed attempt runs again, for which errors, and how long after."""

    limit: Annotated[int, Field(ge=0, le=100, description="Retries after the first attempt.")] = 0
    errors: Annotated[
        list[ErrorType] | None,
        Field(min_length=1, max_length=32,
              description="Types of error to retry (Timeout, Unavailable, RateLimited, Failed, or the worker's own). "
              "Without it all but InvalidInput, InvalidOutput, Denied and Cancelled."),
    ] = None  # fmt: skip
    backoff: Annotated[Backoff, Field(description="How long to wait before each retry.")] = Backoff()
    lost_limit: Annotated[
        int,
        Field(
            ge=0, le=100, description="How often an attempt may be lost with the process that ran it, counted apart from limit."
        ),
    ] = 5


class Fallback(KubeModel):
    """What takes a failed task's place once its retries are used up: exactly one of value, worker, task."""

    value: Annotated[JSON, Field(description="The output to use instead; any JSON with ${…}, null too.")] = None
    worker: Annotated[Name | None, Field(description="Another Worker to try, once.")] = None
    action: Annotated[Action | None, Field(description="The action to ask of that Worker. Without it the task's own.")] = None
    with_: Annotated[JSON, Field(alias="with", description="Inputs for that Worker. Without it the task's own.")] = None
    task: Annotated[Name | None, Field(description="A task that runs only then, and whose output becomes this task's.")] = None

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """Exactly one way out; action and with belong to worker."""
        ways = [way for way in ("value", "worker", "task") if self.given(way)]
        if len(ways) != 1:
            found = f"has {' and '.join(ways)}" if ways else "has none"
            yield (), f"needs exactly one of value, worker (with action, with), task; it {found}"
        for field, alias in (("action", "action"), ("with_", "with")):
            if self.given(field) and not self.given("worker"):
                yield (alias,), f"{alias} belongs to a fallback worker: name it in fallback.worker, or remove {alias}"


class Approval(KubeModel):
    """A person decides; the task's output is {approved, by, at, data}."""

    message: Annotated[Text, Field(description="What is asked, with ${…}; at most 4,096 characters.")] = ""
    timeout: Annotated[
        Duration | None,
        Field(description="How long to wait for a decision, as a Go duration. Without it the run's timeout bounds it."),
    ] = None
    schema_: Annotated[
        dict[str, JSON] | None,
        Field(
            alias="schema", max_length=64, description="JSON Schema (draft 2020-12) of the data that comes with the decision."
        ),
    ] = None


class Cache(KubeModel):
    """Reuse of a result by content: the worker's or tool's definition, the action and the inputs."""

    ttl: Annotated[Duration, Field(description="How long a result may be reused, as a Go duration.")]
    key: Annotated[JSON, Field(description="Takes the place of the inputs in the hash; any JSON with ${…}.")] = None


class Task(KubeModel):
    """One step: exactly one of worker (with action), tool, graph, approval, value."""

    name: Annotated[Name, Field(description="Name of the task: a DNS label, unique over tasks and finally.")]
    worker: Annotated[Name | None, Field(description="The Worker that runs it. Without it an action goes to spec.llm.")] = None
    action: Annotated[Action | None, Field(description="What the Worker is asked to do; a custom Worker may need none.")] = None
    tool: Annotated[Name | None, Field(description="The tool of spec.tools to call.")] = None
    graph: Annotated[
        Name | None, Field(description="The TaskGraph to run as a sub-graph; with is its input, its output the task's.")
    ] = None
    approval: Annotated[Approval | None, Field(description="Wait for a person's decision.")] = None
    value: Annotated[JSON, Field(description="A value computed in place, without a worker; any JSON with ${…}, null too.")] = (
        None
    )
    with_: Annotated[JSON, Field(alias="with", description="Inputs: any JSON with ${…}, at most 1 MiB when resolved.")] = None
    depends_on: Annotated[
        list[Name],
        Field(
            max_length=1000, description="Tasks that must end before this one starts, beside those its expressions refer to."
        ),
    ] = []
    when: Annotated[Text | None, Field(description="One ${…} that gives true or false; the task is skipped if false.")] = None
    for_each: Annotated[ForEach | None, Field(description="Run once for each item of a list.")] = None
    retry: Annotated[Retry, Field(description="Whether and when failed attempts run again.")] = Retry()
    timeout: Annotated[
        Duration | None,
        Field(
            description="Bound of one attempt, from its start on a worker, as a Go duration. Without it the run's bounds it."
        ),
    ] = None
    fallback: Annotated[Fallback | None, Field(description="What takes the task's place when it failed for good.")] = None
    cache: Annotated[Cache | None, Field(description="Reuse an earlier result of the same work.")] = None
    on_error: Annotated[OnError, Field(description="Whether the task's failure fails the run, or the run goes on.")] = "fail"
    save_state: Annotated[
        dict[str, JSON] | None,
        Field(max_length=256, description="Merged into the session when the task succeeded; null deletes a key, "
              "{$increment: n} adds to a number."),
    ] = None  # fmt: skip

    def kinds(self) -> list[str]:
        """Which of the five kinds the manifest names; a right task names exactly one."""
        kinds = ["worker/action"] if self.given("worker") or self.given("action") else []
        return kinds + [kind for kind in ("tool", "graph", "approval", "value") if self.given(kind)]

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """Exactly one kind, and only the fields that mean something for it."""
        kinds = self.kinds()
        if len(kinds) != 1:
            found = f"has {' and '.join(kinds)}" if kinds else "has none"
            yield (), f"needs exactly one of worker/action, tool, graph, approval, value; it {found}"
            return
        if kinds == ["approval"]:
            yield from self._refused(_NOT_ON_APPROVAL)
        if kinds == ["value"]:
            yield from self._refused(_NOT_ON_VALUE)
        if self.for_each and self.fallback and self.fallback.task:
            yield ("fallback", "task"), "a task cannot stand in for single items of a forEach: use a value or a worker"

    def _refused(self, fields: dict[str, tuple[str, str]]) -> Iterable[tuple[Steps, str]]:
        return (((alias,), message) for field, (alias, message) in fields.items() if self.given(field))


_NOT_ON_APPROVAL = {
    "on_error": ("onError", "refused on an approval: a rejection must stop what depends on it"),
    "fallback": ("fallback", "refused on an approval: nothing stands in for a person's decision"),
    "retry": ("retry", "refused on an approval: the first decision holds"),
    "cache": ("cache", "refused on an approval: a decision is not reused"),
    "timeout": ("timeout", "an approval's timeout stands in approval.timeout"),
    "with_": ("with", "an approval takes no inputs: put them into approval.message"),
}
_NOT_ON_VALUE = {"with_": ("with", "a value takes no inputs: put them into value")}
