"""Carries out what a reconcile planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.events import Events
from arklex_operator.manifests.kinds import DEPLOYMENT, Object
from arklex_operator.reconcile.plan import Plan, Scale

Seen = Callable[[Mapping[str, Any]], object]
"""What is told each object as a write returned it."""


async def execute(api: Api, events: Events, about: Mapping[str, Any], plan: Plan, seen: Seen = lambda _: None) -> None:
    """Carry out ``plan``, made for the object ``about``, in order. Raises ApiError at the first write that is refused.

    The status is written at the resourceVersion of ``about``: a plan for a state that is gone changes no status. Events come
    last and never fail.
    """
    for value in plan.creates:
        made = await api.create(value)
        if made is not None:
            seen(made)
    for value in plan.applies:
        seen(await api.apply(value))
    for scale in plan.scales:
        seen(await scaled(api, scale))
    for each in plan.deletes:
        await api.delete(each.kind, each.namespace, each.name, uid=each.uid)
    if plan.status is not None:
        seen(await api.apply(status_of(about, plan.status), subresource="status"))
    for say in plan.events:
        await events.tell(about, say)


async def scaled(api: Api, scale: Scale) -> Object:
    """Set a Deployment's replicas; by a patch of its own, since a field that is applied once must always be applied."""
    metadata = {"resourceVersion": scale.version} if scale.version else {}
    return await api.patch(
        DEPLOYMENT, scale.namespace, scale.name, {"metadata": metadata, "spec": {"replicas": scale.replicas}}
    )


def status_of(about: Mapping[str, Any], status: Object) -> Object:
    """The object to apply to the status subresource: all that we say of it."""
    metadata = about["metadata"]
    return {
        "apiVersion": about["apiVersion"],
        "kind": about["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
        "status": status,
    }
