"""Attempts: slots, starts, retries, timeouts and fallbacks of one unit (semantics.md, "Failure" and "Kinds of task")."""

from __future__ import annotations

from arklex_api.base import JSON
from arklex_api.durations import seconds
from arklex_api.expressions.template import to_text
from arklex_api.task import Retry
from arklex_runtime.engine.commands import AskApproval, CancelAttempt, Lookup, Start, StoreResult
from arklex_runtime.engine.events import Error
from arklex_runtime.engine.state import RunState, Scope, Status, Unit
from arklex_runtime.engine.turn import NEVER_RETRIED, Turn, TurnError, bounded, charge, copied, evaluate, failure, values

MAX_MESSAGE = 4096
"""Characters of an approval's message once it is evaluated."""

HOLDS_SLOT = (Status.ISSUED, Status.RUNNING)


def launch(turn: Turn, unit: Unit) -> None:
    """Begin a unit: a value at once, an approval or a lookup as a question, the rest when there is a slot."""
    task, node = unit.task, unit.task.node
    if node.kind == "value":
        _value(turn, unit)
    elif node.kind == "approval":
        _approval(turn, unit)
    elif node.task.cache and unit.stage == 0:
        _lookup(turn, unit)
    else:
        ready(turn, unit)
    if task.started_at is None:
        task.started_at = turn.now


def ready(turn: Turn, unit: Unit) -> None:
    """The unit may run: at once if its graph has a slot free, else in its turn. A sub-graph takes no slot."""
    scope = unit.task.scope
    unit.status = Status.READY
    if unit.stage == 0 and unit.task.node.kind == "graph":
        turn.work.append(("child", unit))
    elif scope.running < scope.plan.spec.max_parallel and not scope.ready:
        _issue(turn, unit)
    else:
        scope.ready.append(unit)


def pump(turn: Turn, scope: Scope) -> None:
    """Give free slots to whoever waits for them."""
    while scope.ready and scope.running < scope.plan.spec.max_parallel:
        unit = scope.ready.popleft()
        if unit.status is Status.READY:
            _issue(turn, unit)


def release(turn: Turn, unit: Unit) -> None:
    """Give the unit's slot back, if it holds one, and stop waiting for its events."""
    turn.state.open.pop(unit.key, None)
    if unit.status in HOLDS_SLOT:
        scope = unit.task.scope
        scope.running -= 1
        unit.status = Status.IDLE
        if scope.ready:
            turn.work.append(("pump", scope))


def inputs_of(unit: Unit) -> JSON:
    """What the unit's attempt is given. Raises TurnError."""
    node = unit.task.node
    template, field = node.inputs, "with"
    if unit.stage and node.fallback_inputs is not None:
        template, field = node.fallback_inputs, "fallback.with"
    if template is None:
        return {}
    where = f"{node.path}.{field}"
    inputs = evaluate(template, values(unit.task, unit), where)
    return copied(inputs, where)


def start_of(unit: Unit) -> Start:
    """The command that runs the unit's next attempt. Raises TurnError where its inputs cannot be had."""
    return _command(unit, unit.attempts + 1, inputs_of(unit))


def running_of(unit: Unit) -> Start:
    """The command whose attempt runs now, without its inputs: for a new owner, who only waits for its result."""
    return _command(unit, unit.attempts, None)


def _command(unit: Unit, attempt: int, inputs: JSON) -> Start:
    node = unit.task.node
    fallback = node.task.fallback
    if unit.stage and fallback:
        return Start(unit, attempt, fallback.worker, None, fallback.action or node.task.action, inputs)
    tool = node.task.tool
    return Start(unit, attempt, None if tool else node.worker, tool, node.task.action, inputs)


def _issue(turn: Turn, unit: Unit) -> None:
    try:
        command = start_of(unit)
    except TurnError as error:
        exhausted(turn, unit, error.error)
        return
    unit.status = Status.ISSUED
    unit.task.scope.running += 1
    turn.state.open[unit.key] = unit
    turn.commands.append(command)


def _value(turn: Turn, unit: Unit) -> None:
    node = unit.task.node
    template = node.value
    if template is None:
        raise AssertionError(node.name)

    where = f"{node.path}.value"
    try:
        found = turn.fact(f"value:{unit.key}", lambda: evaluate(template, values(unit.task, unit), where))
        charge(turn.state, bounded(found, where, "InvalidOutput"))
        succeeded(turn, unit, found)
    except TurnError as error:
        exhausted(turn, unit, error.error)


def _approval(turn: Turn, unit: Unit) -> None:
    node, approval = unit.task.node, unit.task.node.task.approval
    try:
        if node.message is not None:
            found = evaluate(node.message, values(unit.task, unit), f"{node.path}.approval.message")
            unit.message = to_text(found)[:MAX_MESSAGE]
    except TurnError as error:
        exhausted(turn, unit, error.error)
        return
    unit.status = Status.APPROVAL
    unit.started_at = turn.now
    turn.state.open[unit.key] = unit
    turn.commands.append(AskApproval(unit, unit.message))
    if approval and approval.timeout:
        turn.state.at(turn.now + seconds(approval.timeout), "approval", unit)


def _lookup(turn: Turn, unit: Unit) -> None:
    node = unit.task.node
    kind = node.kind
    name = {"worker": node.worker, "tool": node.task.tool, "graph": node.task.graph}[kind] or ""
    try:
        if node.cache_key is not None:
            content = evaluate(node.cache_key, values(unit.task, unit), f"{node.path}.cache.key")
        else:
            content = inputs_of(unit)
    except TurnError as error:
        exhausted(turn, unit, error.error)
        return
    unit.cache_key = turn.program.cache_key(kind, unit.task.scope.graph, name, node.task.action, content)
    unit.status = Status.LOOKUP
    turn.state.open[unit.key] = unit
    turn.commands.append(Lookup(unit, unit.cache_key))


def started(state: RunState, unit: Unit) -> None:
    """The attempt has its slot on a worker: now it counts."""
    unit.status = Status.RUNNING
    unit.attempts += 1
    if unit.started_at is None:
        unit.started_at = state.now
    timeout = unit.task.node.task.timeout
    if timeout:
        state.at(state.now + seconds(timeout), "attempt", unit, unit.attempts)


def succeeded(turn: Turn, unit: Unit, output: JSON, *, cached: bool = False) -> None:
    """The unit has its result."""
    unit.status = Status.DONE
    unit.cached = cached
    unit.fallback = unit.stage == 1
    cache = unit.task.node.task.cache
    if cache and unit.cache_key and not cached and not unit.fallback:
        turn.commands.append(StoreResult(unit.cache_key, output, seconds(cache.ttl)))
    turn.work.append(("done", unit, output, None))


def failed(turn: Turn, unit: Unit, error: Error) -> None:
    """An attempt failed: again after a delay, or on to the fallback."""
    unit.failures += 1
    retry = unit.task.node.task.retry
    if unit.stage == 0 and unit.failures <= retry.limit and _retried(error, retry):
        unit.status = Status.BACKOFF
        unit.error = error
        turn.state.at(turn.now + delay(retry, unit.failures, turn.jitter), "retry", unit, unit.failures)
    else:
        exhausted(turn, unit, error)


def _retried(error: Error, retry: Retry) -> bool:
    if retry.errors is not None:
        return error["type"] in retry.errors
    return error["type"] not in NEVER_RETRIED and error.get("retryable") is not False


def delay(retry: Retry, count: int, jitter: float) -> float:
    """Seconds before retry ``count``: min(max, initial * factor**(count - 1)), give or take the share ``retry.backoff.jitter``.

    ``jitter`` is uniform in [0, 1). Source: AWS Architecture Blog, "Exponential Backoff and Jitter", in its equal form.
    """
    backoff = retry.backoff
    plain = min(seconds(backoff.max), seconds(backoff.initial) * float(backoff.factor) ** (count - 1))
    return plain * (1 + backoff.jitter * (2 * jitter - 1))


def exhausted(turn: Turn, unit: Unit, error: Error) -> None:
    """No attempt is left: the fallback's turn, if there is one and the unit was not cancelled."""
    fallback = unit.task.node.task.fallback
    if unit.stage == 0:
        unit.error = error
    if fallback is None or unit.stage == 1 or error["type"] == "Cancelled":
        _give_up(turn, unit, error)
        return
    unit.stage, unit.lost = 1, 0
    if unit.task.node.fallback_value is not None:
        _fallback_value(turn, unit)
    elif unit.task.node.fallback_task is not None:
        unit.status = Status.FALLBACK
        turn.work.append(("want", unit))
    else:
        ready(turn, unit)


def _fallback_value(turn: Turn, unit: Unit) -> None:
    node = unit.task.node
    template = node.fallback_value
    if template is None:
        raise AssertionError(node.name)
    where = f"{node.path}.fallback.value"
    try:
        found = turn.fact(f"fallback:{unit.key}", lambda: evaluate(template, values(unit.task, unit), where))
        charge(turn.state, bounded(found, where, "InvalidOutput"))
        succeeded(turn, unit, found)
    except TurnError as error:
        _give_up(turn, unit, error.error)


def _give_up(turn: Turn, unit: Unit, error: Error) -> None:
    first = unit.error or error
    if unit.stage:
        first = {**first, "details": {**(first.get("details") or {}), "fallback": error}}
    unit.status = Status.DONE
    unit.error = first
    turn.work.append(("done", unit, None, first))


def lost(turn: Turn, unit: Unit) -> None:
    """The process that ran the attempt died: again, up to ``retry.lostLimit`` times."""
    unit.lost += 1
    limit = unit.task.node.task.retry.lost_limit
    if unit.lost > limit:
        message = f"the process that ran it died {unit.lost} times (retry.lostLimit is {limit})"
        exhausted(turn, unit, failure("WorkerLost", message))
    else:
        ready(turn, unit)


def cut_off(turn: Turn, unit: Unit) -> bool:
    """Stop a unit. False where it has to be waited for: a sub-graph, whose finally tasks still run."""
    if unit.status in HOLDS_SLOT:
        turn.commands.append(CancelAttempt(unit.key, unit.attempts + (unit.status is Status.ISSUED)))
    if unit.status is Status.CHILD and unit.child is not None and not unit.child.ended:
        return False
    release(turn, unit)
    unit.status = Status.DONE
    return True
