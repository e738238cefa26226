"""What the API server itself checks between fields: structural "exactly one of", cheap CEL rules, list types, tighter bounds.

Rules over names, references and cycles are the operator's and lint's: in CEL they go over the API server's budget. CEL cannot
see fields of any JSON, so where one takes part the rule is structural (cluster.md, "Objects").
"""

from __future__ import annotations

import json
from typing import Any

from arklex_api.task import ROOTS
from arklex_api.worker import Scaling

MAX_TASKS = 1000
"""Tasks of a TaskGraph object: etcd holds no more of the size that tasks have."""


def rule(expression: str, message: str, field: str | None = None) -> dict[str, str]:
    """One entry of x-kubernetes-validations."""
    entry = {"rule": expression, "message": message}
    return {**entry, "fieldPath": field} if field else entry


def _or_default(field: str, attribute: str) -> str:
    default = Scaling.model_fields[attribute].default
    return f"(has(self.{field}) ? self.{field} : {default})"


def _unchanged(field: str) -> dict[str, str]:
    same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    return rule(same, f"{field} cannot be changed: create another TaskGraphRun", f".{field}")


def _refused_with(kind: str, field: str, why: str) -> dict[str, str]:
    return rule(f"!has(self.{kind}) || !has(self.{field})", why, f".{field}")


def _needs(field: str, other: str) -> dict[str, Any]:
    return {"anyOf": [{"not": {"required": [field]}}, {"required": [other]}]}


DURATION_RULES = [rule("duration(self) > duration('0s')", "must be a positive Go duration such as 500ms or 1h30m")]
CIDR_RULES = [rule("isCIDR(self)", "must be a network such as 10.0.0.0/8")]

_NAME_RULE = rule(
    "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
    "the name must be a DNS label: at most 63 characters, no dots",
)
OBJECT_RULES = {"Worker": [_NAME_RULE], "TaskGraph": [_NAME_RULE]}
"""By kind: rules of the whole object."""

MODEL_RULES: dict[str, dict[str, Any]] = {
    "Task": {
        "oneOf": [
            {"anyOf": [{"required": ["worker"]}, {"required": ["action"]}]},
            *({"required": [kind]} for kind in ("tool", "graph", "approval", "value")),
        ],
        "allOf": [{"not": {"required": ["approval", "with"]}}, {"not": {"required": ["value", "with"]}}],
        "x-kubernetes-validations": [
            _refused_with("approval", "onError", "refused on an approval: a rejection must stop what depends on it"),
            _refused_with("approval", "fallback", "refused on an approval: nothing stands in for a person's decision"),
            _refused_with("approval", "retry", "refused on an approval: the first decision holds"),
            _refused_with("approval", "cache", "refused on an approval: a decision is not reused"),
            _refused_with("approval", "timeout", "an approval's timeout stands in approval.timeout"),
            rule(
                "!has(self.forEach) || !has(self.fallback) || !has(self.fallback.task)",
                "a task cannot stand in for single items of a forEach: use a value or a worker",
                ".fallback",
            ),
        ],
    },
    "Fallback": {
        "oneOf": [{"required": ["value"]}, {"required": ["worker"]}, {"required": ["task"]}],
        "allOf": [_needs("action", "worker"), _needs("with", "worker")],
    },
    "ForEach": {
        "x-kubernetes-validations": [
            rule(
                f"!has(self.as) || !(self.as in {json.dumps(list(ROOTS))})",
                "is taken in expressions: choose another name",
                ".as",
            )
        ],
    },
    "Scaling": {
        "x-kubernetes-validations": [
            rule(
                f"{_or_default('minReplicas', 'min_replicas')} <= {_or_default('maxReplicas', 'max_replicas')}",
                "minReplicas must not be more than maxReplicas",
                ".minReplicas",
            ),
            rule(
                f"{_or_default('scaleDownThreshold', 'scale_down_threshold')} < "
                f"{_or_default('scaleUpThreshold', 'scale_up_threshold')}",
                "scaleDownThreshold must be less than scaleUpThreshold",
                ".scaleDownThreshold",
            ),
        ],
    },
    "WorkerSpec": {
        "x-kubernetes-validations": [rule("self.type != 'llm' || has(self.llm)", "type llm needs llm.model", ".llm")],
    },
    "TaskGraphRunSpec": {
        "x-kubernetes-validations": [
            *(_unchanged(field) for field in ("graph", "query", "context", "sessionId", "priority")),
            rule(
                "!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)",
                "a cancel cannot be taken back",
                ".cancel",
            ),
        ],
    },
}
"""By model: keywords added to its schema."""

FIELD_RULES: dict[tuple[str, str], dict[str, Any]] = {
    ("TaskGraphSpec", "tasks"): {"maxItems": MAX_TASKS},
    ("TaskGraphRunSpec", "approvals"): {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["task"]},
    **{
        (model, "conditions"): {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        for model in ("WorkerStatus", "TaskGraphStatus", "TaskGraphRunStatus")
    },
    ("EgressRule", "cidr"): {"x-kubernetes-validations": CIDR_RULES},
}
"""By model and field: keywords that replace what the model's schema says."""
