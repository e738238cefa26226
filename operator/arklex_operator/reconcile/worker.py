"""One Worker, observed → its children as they should be. Pure and by level."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from arklex_api.base import Condition
from arklex_api.objects import read_object
from arklex_api.problems import ManifestError
from arklex_api.worker import Worker
from arklex_operator.load.source import Found, Source
from arklex_operator.load.usage import Usage
from arklex_operator.manifests.children import ChildOptions, children
from arklex_operator.manifests.kinds import DEPLOYMENT, HPA, SCALED_OBJECT, TRIGGER_AUTHENTICATION, Kind, Object, kind_of
from arklex_operator.manifests.names import SPEC_DIGEST, owner_uid
from arklex_operator.manifests.pod import CONTAINER, HANDLER, PodOptions
from arklex_operator.manifests.template import forbidden
from arklex_operator.reconcile.compare import holds, within
from arklex_operator.reconcile.plan import Delete, Plan, Scale
from arklex_operator.reconcile.pods import Trouble
from arklex_operator.settings import Settings

RUN_TYPES = ("llm", "tool", "custom")
"""Types that this version has a worker process for."""

SANDBOXES = ("localhostSeccomp", "runtimeClass", "none")


@dataclass(frozen=True, slots=True)
class Figures:
    """What Redis and metrics.k8s.io say of a Worker; None where they do not say."""

    queued: int | None = None
    in_flight: int | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class Facts:
    """Everything that is known of one Worker when it is reconciled.

    ``live`` are its children by kind as far as they exist; ``secrets`` (Secret, key) pairs of tools; ``mounts`` messages of
    FailedMount events by pod UID; ``refused`` what the API server said to our last writes; ``may_roll`` is asked when pods
    are about to be replaced for the operator's own sake; ``settled`` says whether a child is what came of it.
    """

    worker: Object
    settings: Settings
    found: Found
    live: dict[Kind, Object] = field(default_factory=dict)
    pods: Sequence[Object] = ()
    secrets: frozenset[tuple[str, str]] = frozenset()
    mounts: Mapping[str, str] = field(default_factory=dict)
    figures: Figures = Figures()
    tenancy: Condition | None = None
    refused: Sequence[Trouble] = ()
    may_roll: Callable[[], bool] = lambda: True
    settled: Callable[[Object, Object], bool] = lambda applied, live: False


@dataclass(slots=True)
class Judged:
    """A Worker as it was read, None when it cannot be; ``refusal`` is why it is not accepted."""

    worker: Worker | None
    refusal: Trouble | None
    path: str = ""


def judge(facts: Facts) -> Judged:
    """Whether the Worker can be run as it is."""
    try:
        worker = read_object(Worker, facts.worker)
    except ManifestError as error:
        first, more = error.problems[0], len(error.problems) - 1
        rest = f" (and {more} more)" if more else ""
        return Judged(None, Trouble("Invalid", f"{first.path}: {first.message}{rest}"), first.path)
    for refusal in _refusals(worker, facts):
        return Judged(worker, refusal)
    return Judged(worker, None)


def _refusals(worker: Worker, facts: Facts) -> Iterator[Trouble]:
    spec = worker.spec
    if spec.type == "browser" and spec.config.get("sandbox") not in SANDBOXES:
        fix = f"choose config.sandbox: one of {', '.join(SANDBOXES)}"
        yield Trouble("SandboxUnavailable", f"spec.config.sandbox: Chromium needs a sandbox that pods do not have; {fix}")
    if spec.type not in RUN_TYPES:
        yield Trouble("TypeUnsupported", f"spec.type: this version runs {', '.join(RUN_TYPES)}, not {spec.type}")
    if wrong := forbidden(spec.template):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        yield Trouble("TemplateForbidden", f"{wrong[0].path}: {wrong[0].fix}{more}")
    containers = {each["name"]: each for each in ((spec.template or {}).get("spec") or {}).get("containers") or ()}
    if not facts.settings.images.get(spec.type) and not containers.get(CONTAINER, {}).get("image"):
        fix = "set it in spec.template.spec.containers, or images.workers in the chart"
        yield Trouble("ImageUnset", f"spec.type: there is no image for type {spec.type}; {fix}")
    if spec.config.get("port") is not None and not containers.get(HANDLER, {}).get("image"):
        fix = f"name the container '{HANDLER}' in spec.template.spec.containers, with its image"
        yield Trouble("HandlerMissing", f"spec.config.port: a container of yours must answer there; {fix}")


def desired(worker: Worker, facts: Facts) -> list[Object]:
    """The children of an accepted Worker."""
    settings, spec = facts.settings, worker.spec
    key = spec.llm.api_key_secret_ref if spec.llm else None
    own = frozenset({(key.name, key.key)} if key else ())
    pod = PodOptions(
        image=settings.images.get(spec.type, ""),
        pull_policy=settings.image_pull_policy,
        lease=settings.lease,
        secrets=facts.secrets | own,
        required=frozenset(secret for secret, _ in own),
    )
    options = ChildOptions(
        pod, facts.found.source, settings.worker_redis_url, settings.pod_namespace, settings.api_server_cidrs
    )
    return children(worker, options)


def plan(facts: Facts, judged: Judged) -> Plan:
    """What to write for the children; nothing for a Worker that is not accepted, whose pods are left as they are."""
    made, worker = Plan(), judged.worker
    if worker is None or judged.refusal is not None or facts.worker["metadata"].get("deletionTimestamp"):
        return made
    for child in desired(worker, facts):
        live = facts.live.get(kind_of(child))
        if live is not None and owner_uid(live) != worker.metadata.uid:
            kind = kind_of(child).name
            judged.refusal = Trouble(
                "NameTaken",
                f"metadata.name: there is a {kind} {live['metadata']['name']} that is not this Worker's; rename one of them",
            )
            return Plan()
        if holds(child, live) or (live is not None and facts.settled(child, live)):
            continue
        if live is not None and _ours_alone(child, live) and not facts.may_roll():
            made.requeue_after = 15.0
            continue
        made.applies.append(child)
        lowest = max(1, worker.spec.scaling.min_replicas)
        if live is None and kind_of(child) is DEPLOYMENT and lowest > 1:
            made.scales.append(Scale(worker.metadata.namespace, child["metadata"]["name"], lowest))
    unwanted: tuple[Kind, ...] = (HPA,) if facts.found.source is Source.KEDA else (SCALED_OBJECT, TRIGGER_AUTHENTICATION)
    for each in unwanted:
        live = facts.live.get(each)
        if live is not None and owner_uid(live) == worker.metadata.uid:
            made.deletes.append(Delete(each, worker.metadata.namespace, live["metadata"]["name"], live["metadata"]["uid"]))
    return made


def _ours_alone(child: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    if child["kind"] != DEPLOYMENT.name:
        return False
    one, other = ((each["metadata"].get("annotations") or {}).get(SPEC_DIGEST) for each in (child, live))
    return one == other and not within(child["spec"]["template"], live["spec"]["template"])
