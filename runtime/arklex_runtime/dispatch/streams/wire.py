"""Keys and messages between runtimes and pods (docs/decisions/0006). Pure: both sides import it and nothing else of each other.

A message is compact JSON with ``v``. Readers take any message whose ``v`` they know, whatever else is in it, so that a runtime
and pods of neighbouring versions understand each other; another ``v`` is refused with NewerMessage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson

from arklex_api.base import JSON

VERSION = 1
GROUP = "pool"
"""The consumer group of every jobs stream."""

POD_COMMANDS = (
    "ping hello select client|setname client|id multi exec discard time eval evalsha xadd xread xreadgroup "
    "xack xdel xpending xgroup|create xgroup|delconsumer hset hdel zadd zcard zrange zremrangebyscore pexpire"
)
"""What the ACL user of a namespace's pods may ask of Redis, on the namespace's keys alone."""

Kind: TypeAlias = Literal["started", "finished", "released"]
KINDS = ("started", "finished", "released")


class BadMessage(ValueError):
    """Not a message of ours."""


class NewerMessage(BadMessage):
    """A message of a version that this process cannot read."""


class Attempt(NamedTuple):
    """Which attempt a message is about; ``key`` is the engine's unit key. Messages are told apart by this alone."""

    run: str
    key: str
    number: int


class Keys:
    """The names of everything that a namespace has in Redis."""

    __slots__ = ("_base", "namespace", "results")

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._base = f"arklex:{{{namespace}}}:"
        self.results = self._base + "results"

    def jobs(self, worker: str) -> str:
        """The stream of a Worker's attempts that wait or run."""
        return f"{self._base}jobs:{worker}"

    def pods(self, worker: str) -> str:
        """The hash of a Worker's heartbeats, by pod."""
        return f"{self._base}pods:{worker}"

    def control(self, worker: str) -> str:
        """The stream of cancels."""
        return f"{self._base}control:{worker}"

    def limits(self, graph: str, tool: str) -> str:
        """The calls of a tool within its rate limit's windows."""
        return f"{self._base}limits:{graph}:{tool}"


@dataclass(slots=True)
class JobMessage:
    """An attempt to run: ``timeout`` in seconds, ``tools`` as in ``spec.tools``, ``idem`` the idempotency key."""

    attempt: Attempt
    task: str
    graph: str
    inputs: JSON
    action: str | None = None
    timeout: float | None = None
    idem: str = ""
    session: dict[str, JSON] = field(default_factory=dict)
    tool: str | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    epoch: int = 0
    trace: str | None = None

    def encode(self) -> bytes:
        """The field ``j``."""
        body: dict[str, JSON] = {
            "v": VERSION,
            "run": self.attempt.run,
            "key": self.attempt.key,
            "attempt": self.attempt.number,
            "epoch": self.epoch,
            "task": self.task,
            "action": self.action,
            "inputs": self.inputs,
            "timeout": self.timeout,
            "idem": self.idem,
            "session": self.session,
            "graph": self.graph,
        }
        for name in ("tool", "tools", "trace"):
            if value := getattr(self, name):
                body[name] = value
        return orjson.dumps(body)

    @classmethod
    def decode(cls, data: bytes) -> JobMessage:
        """Raises BadMessage, NewerMessage."""
        body = _body(data)
        try:
            return cls(
                _attempt(body),
                str(body["task"]),
                str(body["graph"]),
                body["inputs"],
                body.get("action"),
                body.get("timeout"),
                body.get("idem") or "",
                body.get("session") or {},
                body.get("tool"),
                body.get("tools") or [],
                body.get("epoch") or 0,
                body.get("trace"),
            )
        except KeyError as error:
            raise BadMessage(f"a job without {error}") from None


@dataclass(slots=True)
class ResultMessage:
    """What a pod says of an attempt. ``finished`` has ``output`` and its ``size``, or ``error``; ``took`` is in seconds.

    ``ran``: what is ``released`` had begun, though nobody may have heard of that.
    """

    kind: Kind
    attempt: Attempt
    pod: str
    node: str = ""
    output: JSON = None
    error: dict[str, Any] | None = None
    size: int = 0
    logs: str = ""
    took: float = 0.0
    ran: bool = False

    def encode(self) -> bytes:
        """The field ``r``."""
        body: dict[str, JSON] = {
            "v": VERSION,
            "kind": self.kind,
            "run": self.attempt.run,
            "key": self.attempt.key,
            "attempt": self.attempt.number,
            "pod": self.pod,
            "node": self.node,
        }
        if self.kind == "finished":
            body |= {"size": self.size, "logs": self.logs, "took": self.took}
            body |= {"output": self.output} if self.error is None else {"error": self.error}
        if self.ran:
            body["ran"] = True
        return orjson.dumps(body)

    @classmethod
    def decode(cls, data: bytes) -> ResultMessage:
        """Raises BadMessage, NewerMessage."""
        body = _body(data)
        kind, attempt = body.get("kind"), _attempt(body)
        pod, node = str(body.get("pod") or ""), str(body.get("node") or "")
        if kind == "started" or kind == "released":
            return cls(kind, attempt, pod, node, ran=body.get("ran") is True)
        if kind != "finished":
            raise BadMessage(f"kind {kind!r} is none of {', '.join(KINDS)}")
        error, size, took = body.get("error"), body.get("size", 0), body.get("took")
        if error is not None:
            _check_error(error)
        if type(size) is not int or size < 0:
            raise BadMessage("size must be a number of bytes")
        seconds = float(took) if isinstance(took, int | float) else 0.0
        return cls("finished", attempt, pod, node, body.get("output"), error, size, str(body.get("logs") or ""), seconds)


@dataclass(slots=True)
class Heartbeat:
    """What a pod holds; ``beat`` counts up."""

    beat: int
    slots: int
    held: list[Attempt]
    version: str = ""

    def encode(self) -> bytes:
        """The hash's value."""
        return orjson.dumps(
            {
                "v": VERSION,
                "beat": self.beat,
                "slots": self.slots,
                "held": [[*attempt] for attempt in self.held],
                "worker version": self.version,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Heartbeat:
        """Raises BadMessage, NewerMessage."""
        body = _body(data)
        try:
            held = [Attempt(str(run), str(key), int(number)) for run, key, number in body["held"]]
            return cls(int(body["beat"]), int(body["slots"]), held, str(body.get("worker version") or ""))
        except (KeyError, TypeError, ValueError) as error:
            raise BadMessage(f"not a heartbeat: {error}") from None


@dataclass(slots=True)
class Cancel:
    """Stop an attempt, if you have it. ``reason``: Timeout, lost, or None."""

    attempt: Attempt
    reason: str | None = None

    def encode(self) -> bytes:
        """The field ``c``."""
        run, key, number = self.attempt
        return orjson.dumps({"v": VERSION, "run": run, "key": key, "attempt": number, "reason": self.reason})

    @classmethod
    def decode(cls, data: bytes) -> Cancel:
        """Raises BadMessage, NewerMessage."""
        body = _body(data)
        return cls(_attempt(body), body.get("reason"))


def identity(attempt: Attempt) -> bytes:
    """The field ``k`` of a job: what an owner finds its entry by."""
    return orjson.dumps([*attempt])


def attempt_of(data: bytes) -> Attempt:
    """The attempt that ``identity`` wrote. Raises BadMessage."""
    try:
        run, key, number = orjson.loads(data)
    except (TypeError, ValueError) as error:
        raise BadMessage(f"not an attempt: {error}") from None
    return _attempt({"run": run, "key": key, "attempt": number})


def fields_of(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """An entry's fields, which Redis answers as a flat list."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def field_of(flat: Sequence[bytes], name: bytes) -> bytes:
    """One field of an entry, mostly its only one; empty where there is none of that name."""
    return flat[1] if len(flat) == 2 and flat[0] == name else fields_of(flat).get(name, b"")


def _body(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadMessage("not an object")
    version = body.get("v")
    if type(version) is not int or version < 1:
        raise BadMessage("no version")
    if version > VERSION:
        raise NewerMessage(f"version {version}, this process reads up to {VERSION}")
    return body


def _check_error(error: Any) -> None:
    if not (isinstance(error, dict) and isinstance(error.get("type"), str)):
        raise BadMessage("error must be an object with a type")
    if not isinstance(error.setdefault("message", ""), str):
        raise BadMessage("error.message must be a string")


def _attempt(body: dict[str, Any]) -> Attempt:
    run, key, number = body.get("run"), body.get("key"), body.get("attempt")
    if not (isinstance(run, str) and isinstance(key, str) and type(number) is int and number >= 1):
        raise BadMessage("run, key and attempt must name an attempt")
    return Attempt(run, key, number)
