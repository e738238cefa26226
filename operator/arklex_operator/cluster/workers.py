"""The Worker's reconcile: gathers what is known, carries out what is planned, writes the status."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from arklex_api.worker import Worker
from arklex_operator.cluster.accounts import Accounts
from arklex_operator.cluster.errors import ApiError, ConflictError, ForbiddenError, InvalidError, NotFoundError
from arklex_operator.cluster.execute import scaled, status_of
from arklex_operator.cluster.hub import GONE, Hub
from arklex_operator.cluster.pools import Pools
from arklex_operator.cluster.store import Key, Shelf
from arklex_operator.cluster.surroundings import Surroundings
from arklex_operator.load.source import Source
from arklex_operator.manifests.kinds import (
    DEPLOYMENT,
    HPA,
    NETWORK_POLICY,
    PDB,
    POD,
    SCALED_OBJECT,
    SERVICE,
    SERVICE_ACCOUNT,
    TASK_GRAPH,
    TRIGGER_AUTHENTICATION,
    WORKER,
    Kind,
    Object,
)
from arklex_operator.manifests.names import CONNECTION, DIGEST, OURS, WORKER_LABEL, child_name
from arklex_operator.reconcile.plan import Plan, Say
from arklex_operator.reconcile.pods import Trouble, mounting, trim_pod, waits_for_volumes
from arklex_operator.reconcile.rollouts import Rollouts
from arklex_operator.reconcile.secrets import NOTHING, GraphUse, read_graph, secrets_for
from arklex_operator.reconcile.worker import Facts, Figures, Judged, judge, plan
from arklex_operator.reconcile.worker_status import differs, events, status

CHILDREN = (SERVICE_ACCOUNT, NETWORK_POLICY, SERVICE, PDB, DEPLOYMENT, HPA)
AGAIN = 30.0
"""Seconds until a write that the API server refused is tried again."""

BeforeShrinking = Callable[[str, str], Awaitable[None]]
"""Is told a Worker's namespace and name, and returns when its pool may shrink."""

log = logging.getLogger("arklex.operator.workers")


class Workers:
    """Reconciles Workers; registers what it wants watched with ``hub``."""

    kind = WORKER.name

    def __init__(self, hub: Hub, accounts: Accounts, surroundings: Surroundings) -> None:
        self._hub, self._accounts, self._surroundings = hub, accounts, surroundings
        self._rollouts = Rollouts(hub.settings.max_rolling)
        self._surveyed = False
        self._uses: dict[str, dict[str, GraphUse]] = {}
        self._settled: dict[str, tuple[str, Any]] = {}
        self.workers = hub.watch(WORKER, self._worker_changed)
        self._shelves: dict[Kind, Shelf] = {kind: hub.watch(kind, self._child_changed, labels=OURS) for kind in CHILDREN}
        self._pods = hub.watch(POD, self._child_changed, labels=OURS, trim=trim_pod)
        hub.watch(TASK_GRAPH, self._graph_changed)
        self.before_shrinking: BeforeShrinking = _nothing
        self.pools = Pools(hub, self.workers, self._shelves[DEPLOYMENT], self.pods_of, self._read)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring one Worker's children and status there."""
        key = (namespace, name)
        worker = self.workers.get(namespace, name)
        if worker is None or worker["metadata"].get("deletionTimestamp"):
            self._observe(key, None)
            self.pools.forget(key)
            return GONE
        facts = await self._facts(worker)
        judged = judge(facts)
        made = Plan()
        if judged.refusal is None:
            refused = await self._account(namespace)
            await self._complete(facts)
            made = plan(facts, judged)
            if _shrinks(made, facts.live.get(DEPLOYMENT)):
                await self.before_shrinking(namespace, name)
            facts.refused = [*refused, *await self._carry_out(made)]
        facts.live |= self._live(worker)
        facts.tenancy = self._accounts.tenancy(namespace)
        await self._tell(facts, judged)
        waits = [10.0] if any(waits_for_volumes(pod) for pod in facts.pods) else []
        waits += [AGAIN] if facts.refused else []
        waits += [made.requeue_after] if made.requeue_after is not None else []
        return min(waits, default=None)

    async def failing(self, namespace: str, name: str, error: Exception, failures: int) -> None:
        """Say so by an event on the Worker."""
        if (worker := self.workers.get(namespace, name)) is not None:
            note = f"its reconcile has failed {failures} times: {error or type(error).__name__}"
            await self._hub.events.tell(worker, Say("Warning", "ReconcileFailing", note))

    def pods_of(self, namespace: str, name: str) -> list[Object]:
        """The pods of a Worker, as far as they are known."""
        return [pod for pod in self._pods.within(namespace) if (pod["metadata"].get("labels") or {}).get(WORKER_LABEL) == name]

    def wake_all(self, namespace: str | None = None) -> None:
        """Wake every Worker (of ``namespace`` if given)."""
        for worker in self.workers if namespace is None else self.workers.within(namespace):
            self._hub.wake(self.kind, worker["metadata"]["namespace"], worker["metadata"]["name"])

    async def _facts(self, worker: Object) -> Facts:
        metadata, spec = worker["metadata"], worker.get("spec") or {}
        namespace, name = metadata["namespace"], metadata["name"]
        key, pods, now = (namespace, name), self.pods_of(namespace, name), datetime.now(UTC)
        live = self._live(worker)
        self._observe(key, live.get(DEPLOYMENT))
        tools = [each["metadata"]["name"] for each in self.workers.within(namespace) if _type(each) == "tool"]
        mounts = {pod["metadata"]["uid"]: text for pod in mounting(pods, now)[:3] if (text := await self._mount_event(pod))}
        if any(CONNECTION in text for text in mounts.values()):
            self._accounts.forget(namespace)
        return Facts(
            worker=worker,
            settings=self._hub.settings,
            found=self._surroundings.found or await self._surroundings.look(),
            live=live,
            pods=pods,
            secrets=secrets_for(name, spec.get("type", ""), self._uses.get(namespace, {}).values(), tools),
            mounts=mounts,
            figures=self.pools.shown.get(key, _figures_of(worker)),
            may_roll=lambda: self._may_roll(key),
            settled=self._is_settled,
        )

    def _observe(self, key: Key, deployment: Object | None) -> None:
        if (following := self._rollouts.observe(key, deployment)) is not None:
            self._hub.wake(self.kind, *following)

    def _may_roll(self, key: Key) -> bool:
        """Asked for the first time, first look at all Deployments: those of Workers not reconciled yet may be under way."""
        if not self._surveyed:
            self._surveyed = True
            for found in self._shelves[DEPLOYMENT]:
                if worker := (found["metadata"].get("labels") or {}).get(WORKER_LABEL):
                    self._observe((found["metadata"]["namespace"], worker), found)
        return self._rollouts.begin(key, len(self.workers))

    def _read(self, worker: Object) -> Worker | None:
        return judge(Facts(worker, self._hub.settings, self._surroundings.known)).worker

    def _live(self, worker: Object) -> dict[Kind, Object]:
        namespace, name = worker["metadata"]["namespace"], child_name(worker["metadata"]["name"])
        return {kind: found for kind, shelf in self._shelves.items() if (found := shelf.get(namespace, name)) is not None}

    async def _complete(self, facts: Facts) -> None:
        """Ask for what no watch shows: children of that name without our label, KEDA's objects. Raises ApiError."""
        namespace, name = facts.worker["metadata"]["namespace"], child_name(facts.worker["metadata"]["name"])
        wanted = [kind for kind in CHILDREN if kind not in facts.live]
        if facts.found.source is Source.KEDA:
            wanted = [kind for kind in wanted if kind is not HPA]
        if self._surroundings.keda:
            wanted += [SCALED_OBJECT, TRIGGER_AUTHENTICATION]
        for kind in wanted:
            if (found := await self._hub.api.get(kind, namespace, name)) is not None:
                facts.live[kind] = found

    async def _account(self, namespace: str) -> list[Trouble]:
        try:
            made = await self._accounts.ensure(namespace)
        except (ForbiddenError, InvalidError) as error:
            return [_refusal(f"Secret {CONNECTION}", error)]
        if made:
            log.info("a namespace's account was made", extra={"namespace": namespace})
        return []

    async def _carry_out(self, made: Plan) -> list[Trouble]:
        """Write each child by itself: what is refused for one does not stop the others. Raises ApiError that may pass."""
        refused = []
        for child in made.applies:
            try:
                live = await self._hub.api.apply(child)
            except (ForbiddenError, InvalidError, NotFoundError) as error:
                refused.append(_refusal(f"{child['kind']} {child['metadata']['name']}", error))
                continue
            self._hub.seen(live)
            self._settled[live["metadata"]["uid"]] = (child["metadata"]["annotations"][DIGEST], _version(live))
        for scale in made.scales if not refused else ():
            try:
                self._hub.seen(await scaled(self._hub.api, scale))
            except ConflictError:
                log.info("somebody else has just scaled it", extra={"namespace": scale.namespace, "object": scale.name})
        for each in made.deletes:
            await self._hub.api.delete(each.kind, each.namespace, each.name, uid=each.uid)
        return refused

    def _is_settled(self, applied: Object, live: Object) -> bool:
        digest = applied["metadata"]["annotations"][DIGEST]
        return self._settled.get(live["metadata"].get("uid", "")) == (digest, _version(live))

    async def _tell(self, facts: Facts, judged: Judged) -> None:
        before, after = facts.worker.get("status") or {}, status(facts, judged, datetime.now(UTC))
        if not differs(before, after):
            return
        try:
            self._hub.seen(await self._hub.api.apply(status_of(facts.worker, after), subresource="status"))
        except (NotFoundError, ConflictError):
            return
        for say in events(before, after):
            await self._hub.events.tell(facts.worker, say)

    async def _mount_event(self, pod: Object) -> str | None:
        """The newest FailedMount event of a pod."""
        metadata = pod["metadata"]
        query = [("fieldSelector", f"involvedObject.uid={metadata['uid']},reason=FailedMount")]
        try:
            found = await self._hub.api.call("GET", f"/api/v1/namespaces/{metadata['namespace']}/events", query)
        except ApiError as error:
            log.warning("cannot read a pod's events", extra={"error": str(error)})
            return None
        events = sorted(found.get("items") or (), key=lambda each: each["metadata"].get("resourceVersion", ""))
        missing = [
            each for each in events if "not found" in str(each.get("message")) or "non-existent" in str(each.get("message"))
        ]
        return str((missing or events)[-1].get("message")) if events else None

    def _worker_changed(self, value: Object) -> None:
        namespace, name = value["metadata"]["namespace"], value["metadata"]["name"]
        self._hub.wake(self.kind, namespace, name)
        if _type(value) == "tool":
            for other in self.workers.within(namespace):
                if _type(other) == "tool":
                    self._hub.wake(self.kind, namespace, other["metadata"]["name"])

    def _child_changed(self, value: Object) -> None:
        metadata = value["metadata"]
        if worker := (metadata.get("labels") or {}).get(WORKER_LABEL):
            self._hub.wake(self.kind, metadata["namespace"], worker)

    def _graph_changed(self, value: Object) -> None:
        namespace, name = value["metadata"]["namespace"], value["metadata"]["name"]
        gone = self._hub.watches[TASK_GRAPH].shelf.get(namespace, name) is None
        uses = self._uses.setdefault(namespace, {})
        before, after = uses.get(name, NOTHING), NOTHING if gone else read_graph(value)
        if before != after:
            uses[name] = after
            if after is NOTHING:
                del uses[name]
            self.wake_all(namespace)


async def _nothing(namespace: str, name: str) -> None:
    """Where nobody knows which pods are idle."""


def _shrinks(made: Plan, deployment: Mapping[str, Any] | None) -> bool:
    """Whether the HPA that is about to be applied will take pods away at once."""
    replicas = ((deployment or {}).get("spec") or {}).get("replicas", 1)
    return any(child["kind"] == HPA.name and replicas > child["spec"]["maxReplicas"] for child in made.applies)


def _refusal(what: str, error: ApiError) -> Trouble:
    if isinstance(error, ForbiddenError):
        reason = "QuotaExceeded" if "exceeded quota" in error.message else "Forbidden"
        return Trouble(reason, f"the API server forbids the {what}: {error.message}")
    return Trouble("Refused", f"the API server refuses the {what}: {error.message}")


def _version(live: Mapping[str, Any]) -> Any:
    return live["metadata"].get("generation") or live["metadata"].get("resourceVersion")


def _type(worker: Mapping[str, Any]) -> str:
    return str((worker.get("spec") or {}).get("type"))


def _figures_of(worker: Mapping[str, Any]) -> Figures:
    """What the status says, until Redis is asked."""
    status = worker.get("status") or {}
    return Figures(status.get("queued"), status.get("inFlight"))
