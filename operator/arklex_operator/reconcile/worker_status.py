"""What a Worker's status says, of what is observed; and the events that go with a change of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from arklex_api.base import Condition
from arklex_api.worker import Worker
from arklex_operator.load.conditions import hysteresis_exact, idle_below_threshold, scaling_active
from arklex_operator.load.pool import Pool
from arklex_operator.load.usage import read_pod
from arklex_operator.manifests.kinds import DEPLOYMENT, HPA, Object
from arklex_operator.reconcile.plan import Say
from arklex_operator.reconcile.pods import Trouble, trouble
from arklex_operator.reconcile.worker import Facts, Figures, Judged

LEAST_CHANGE = 0.05
"""Share by which load or queue must change before a status is written for that alone."""

_TOLD = ("Accepted", "Available", "PodsHealthy", "TenantIsolation")


def status(facts: Facts, judged: Judged, now: datetime) -> Object:
    """The status, complete as the operator owns it."""
    before = facts.worker.get("status") or {}
    deployment = facts.live.get(DEPLOYMENT)
    wrong = trouble(facts.pods, deployment, facts.mounts)
    conditions = [
        _accepted(facts, judged),
        _available(judged, deployment, wrong, facts),
        _healthy(wrong, deployment),
        *_scaling(facts, judged),
    ]
    if facts.tenancy is not None:
        conditions.append(facts.tenancy)
    dated = [_dated(each, facts.worker, before, now) for each in conditions]
    told: Object = {
        "observedGeneration": facts.worker["metadata"].get("generation") or 0,
        **_numbers(facts, judged.worker, deployment),
        "conditions": dated + _idle(facts, judged.worker, before, now),
    }
    changed = before.get("desiredReplicas") not in (None, told.get("desiredReplicas"))
    scaled = _time(now) if changed else before.get("lastScaleTime")
    if scaled is not None:
        told["lastScaleTime"] = scaled
    return told


def events(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Say]:
    """A warning for each of our conditions that has become False, or False for another reason."""
    known = {each["type"]: each for each in before.get("conditions") or ()}
    found: list[Say] = []
    said: set[str] = set()
    for each in after["conditions"]:
        old = known.get(each["type"], {})
        news = (old.get("status"), old.get("reason")) != (each["status"], each["reason"])
        if each["type"] in _TOLD and each["status"] == "False" and news and each["reason"] not in (*said, "Starting"):
            said.add(each["reason"])
            found.append(Say("Warning", each["reason"], f"{each['type']}=False: {each['message']}"))
    return found


def differs(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a status must be written."""
    return any(before.get(key) != after.get(key) for key in {*before, *after})


def worth_telling(shown: Figures, now: Figures, load_before: float, load_now: float) -> bool:
    """Whether load or queue have changed by so much, or to or from nothing, that the status should say so."""
    pairs = [(shown.queued, now.queued), (shown.in_flight, now.in_flight), (load_before, load_now)]
    for one, other in pairs:
        if (one is None) != (other is None):
            return True
        old, new = one or 0, other or 0
        if old != new and (not old or not new or abs(new - old) >= LEAST_CHANGE * abs(old)):
            return True
    return False


def load_of(worker: Worker, pods: Sequence[Object], deployment: Mapping[str, Any] | None, figures: Figures) -> float | None:
    """The pool's load; None while nothing is known of its queue or its pods."""
    if deployment is None or figures.queued is None or figures.in_flight is None:
        return None
    seen = [read_pod(pod) for pod in pods]
    pool = Pool(
        scaling=worker.spec.scaling,
        concurrency=worker.spec.concurrency,
        desired=_desired(deployment),
        ready=sum(pod.ready for pod in seen),
        counted=sum(pod.counted for pod in seen),
        queued=figures.queued,
        in_flight=figures.in_flight,
        usage=figures.usage,
    )
    return pool.load


def _accepted(facts: Facts, judged: Judged) -> Condition:
    if judged.refusal is not None:
        return _condition("Accepted", "False", *judged.refusal)
    if facts.refused:
        return _condition("Accepted", "False", *facts.refused[0])
    return _condition("Accepted", "True", "Accepted", "the Worker can be run as it is")


def _available(judged: Judged, deployment: Mapping[str, Any] | None, wrong: Trouble | None, facts: Facts) -> Condition:
    ready = ((deployment or {}).get("status") or {}).get("readyReplicas") or 0
    if ready:
        return _condition("Available", "True", "Ready", "pods take tasks")
    if deployment is not None and _desired(deployment) == 0:
        return _condition("Available", "True", "Asleep", "no pods while nothing is to do; a task wakes one")
    if deployment is None:
        cause = judged.refusal or (facts.refused[0] if facts.refused else None)
        return _condition("Available", "False", *(cause or Trouble("Starting", "there are no pods yet")))
    return _condition("Available", "False", *(wrong or Trouble("Starting", "no pod is ready yet")))


def _healthy(wrong: Trouble | None, deployment: Mapping[str, Any] | None) -> Condition:
    if wrong is not None:
        return _condition("PodsHealthy", "False", *wrong)
    if deployment is None:
        return _condition("PodsHealthy", "Unknown", "NoPods", "there are no pods")
    return _condition("PodsHealthy", "True", "Healthy", "nothing is known to be wrong with the pods")


def _scaling(facts: Facts, judged: Judged) -> Iterator[Condition]:
    if judged.worker is not None and (judged.refusal is None or HPA in facts.live):
        scaling, hpa = judged.worker.spec.scaling, facts.live.get(HPA)
        yield scaling_active(scaling, facts.found, hpa)
        yield hysteresis_exact(scaling, facts.found, hpa)


def _idle(facts: Facts, worker: Worker | None, before: Mapping[str, Any], now: datetime) -> list[Object]:
    """IdleBelowThreshold, with the figures of when it last changed; a busy pool keeps what was said of it when idle."""
    known = next((each for each in before.get("conditions") or () if each.get("type") == "IdleBelowThreshold"), None)
    figures, waiting = facts.figures, (facts.figures.queued or 0) + (facts.figures.in_flight or 0)
    found = idle_below_threshold(worker.spec.scaling, figures.usage, waiting) if worker is not None else None
    if found is None or (known is not None and known.get("status") == found.status):
        generation = facts.worker["metadata"].get("generation") or 0
        return [{**known, "observedGeneration": generation}] if known is not None else []
    return [_dated(found, facts.worker, before, now)]


def _numbers(facts: Facts, worker: Worker | None, deployment: Mapping[str, Any] | None) -> Object:
    told: Object = {}
    if deployment is not None:
        observed = deployment.get("status") or {}
        told |= {
            "replicas": observed.get("replicas") or 0,
            "readyReplicas": observed.get("readyReplicas") or 0,
            "desiredReplicas": _desired(deployment),
        }
    figures = facts.figures
    if figures.queued is not None and figures.in_flight is not None:
        told |= {"queued": figures.queued, "inFlight": figures.in_flight}
    load = load_of(worker, facts.pods, deployment, figures) if worker is not None else None
    if load is not None:
        told["load"] = f"{load:.2f}"
    return told


def _desired(deployment: Mapping[str, Any]) -> int:
    replicas: int = (deployment.get("spec") or {}).get("replicas", 1)
    return replicas


def _condition(kind: str, status: Any, reason: str, message: str) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message[:2048])


def _dated(condition: Condition, worker: Object, before: Mapping[str, Any], now: datetime) -> Object:
    known = next((each for each in before.get("conditions") or () if each.get("type") == condition.type), None)
    kept = known is not None and known.get("status") == condition.status and known.get("lastTransitionTime")
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": kept or _time(now),
        "observedGeneration": worker["metadata"].get("generation") or 0,
    }


def _time(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
