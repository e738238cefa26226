"""Whether a person's decision may be taken (semantics.md, "approval")."""

from __future__ import annotations

from arklex_api.base import JSON
from arklex_api.schema import JsonSchema, SchemaError
from arklex_runtime.engine.state import RunState, Scope, Unit
from arklex_runtime.errors import AlreadyDecided, ApprovalNotFound, ConflictError, ValidationError
from arklex_runtime.orchestrator.attempt import path_of


def check_decision(state: RunState, task: str, approved: bool, data: JSON) -> bool:
    """True if this very decision was taken before; False if it may be taken now or once the task gets there.

    Raises ApprovalNotFound, AlreadyDecided for a contrary or late decision, ValidationError for data its schema refuses.
    """
    unit = _latest(state, task)
    if unit is None:
        if _declared(state, task):
            raise ConflictError(f"the approval '{task}' does not wait yet")
        raise ApprovalNotFound(f"run '{state.run_id}' has no approval '{task}'")
    approval = unit.task.node.task.approval
    if unit.task.terminal or unit.task.cut is not None:
        return _repeated(unit, task, approved)
    if approval is not None and approval.schema_ and approved:
        try:
            JsonSchema(approval.schema_).accept(data, "data")
        except SchemaError as error:
            raise ValidationError(str(error)) from None
    return False


def _repeated(unit: Unit, task: str, approved: bool) -> bool:
    error = unit.error
    if error is None:
        earlier: bool | None = True
    else:
        earlier = False if error["type"] == "Denied" else None
    if earlier is None:
        raise AlreadyDecided(f"'{task}' is over: {error['message'] if error else unit.task.phase}")
    if earlier != approved:
        raise AlreadyDecided(f"'{task}' was {'approved' if earlier else 'rejected'} already: the first decision stands")
    return True


def _latest(state: RunState, task: str) -> Unit | None:
    found = None
    for scope in _scopes(state.root):
        for candidate in scope.tasks:
            if candidate.node.kind == "approval":
                for unit in candidate.units:
                    if path_of(unit.key) == task:
                        found = unit
    return found


def _declared(state: RunState, task: str) -> bool:
    for scope in _scopes(state.root):
        for candidate in scope.tasks:
            if candidate.node.kind == "approval" and path_of(scope.path + candidate.node.name) == task.split("[")[0]:
                return True
    return False


def _scopes(root: Scope | None) -> list[Scope]:
    found = [root] if root else []
    for scope in found:
        found += [unit.child for task in scope.tasks for unit in task.units if unit.child is not None]
    return found
