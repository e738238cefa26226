"""One leader among the operator's pods, by a Lease.

Deadlines are counted by this process's own monotonic clock: no clock is compared with another's. A leader that could not renew
for two thirds of the lease ends its process before anybody else may lead; a leader that is told to stop gives the Lease back.
Two leaders for a moment do no harm: names are deterministic, and applies and preconditions decide.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.ending import end
from arklex_operator.cluster.errors import ApiError, ConflictError
from arklex_operator.manifests.kinds import LEASE, Object

RETURNS = 3
"""Tries to give the Lease back; without, it runs out."""

log = logging.getLogger("arklex.operator.leader")


def end_process() -> None:
    """End at once, without a word to anybody: somebody else may lead from now on."""
    os._exit(70)


class Leader:
    """Contends for the Lease ``name`` in ``namespace``. ``seconds`` is its duration; ``on_loss`` is called when it is lost."""

    def __init__(
        self, api: Api, namespace: str, name: str, holder: str, seconds: float, on_loss: Callable[[], object] = end_process
    ) -> None:
        self._api = api
        self._namespace, self._name = namespace, name
        self.identity = f"{holder}_{uuid.uuid4().hex[:8]}"
        self._seconds = seconds
        self._retry = seconds / 7.5
        self._deadline = seconds * 2 / 3
        self._on_loss = on_loss
        self._seen: tuple[str, int, str] | None = None
        self._seen_at = 0.0
        self._claimed = False
        self._renewing: asyncio.Task[None] | None = None
        self.leads = False

    async def acquire(self) -> None:
        """Wait until this process leads; from then on the Lease is renewed in the background."""
        for _ in itertools.count():
            if await self._attempt(self._try):
                break
            await asyncio.sleep(self._retry * random.uniform(0.8, 1.2))
        self.leads = True
        log.info("leading", extra={"identity": self.identity})
        self._renewing = asyncio.create_task(self._renew(time.monotonic()), name="leader")

    async def release(self) -> None:
        """Stop renewing, and give the Lease back so that another may lead at once.

        A write that was cut off may have been carried out: what the Lease says now counts, not what was last heard.
        """
        if self._renewing is not None:
            await end([self._renewing])
        self.leads = False
        for _ in range(RETURNS if self._claimed else 0):
            if await self._attempt(self._give_back):
                break

    async def _give_back(self) -> bool:
        lease = await self._api.get(LEASE, self._namespace, self._name)
        if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self.identity:
            return True
        return await self._write(
            {**lease, "spec": {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}}
        )

    async def _renew(self, renewed: float) -> None:
        while True:
            await asyncio.sleep(self._retry)
            began = time.monotonic()
            if began - renewed <= self._deadline and await self._attempt(self._try):
                renewed = began
            elif self._lost or time.monotonic() - renewed > self._deadline:
                break
        self.leads = False
        log.critical("the Lease is lost, ending", extra={"identity": self.identity})
        self._on_loss()

    async def _attempt(self, call: Callable[[], Any]) -> bool:
        """One try, within a third of the deadline; whether it succeeded."""
        try:
            async with asyncio.timeout(self._deadline / 3):
                return bool(await call())
        except (ApiError, TimeoutError) as error:
            log.warning("the Lease cannot be had now", extra={"error": str(error) or type(error).__name__})
            return False

    @property
    def _lost(self) -> bool:
        """Whether somebody else has the Lease that this process had."""
        return self._seen is not None and self._seen[0] not in ("", self.identity)

    async def _try(self) -> bool:
        lease = await self._api.get(LEASE, self._namespace, self._name)
        if lease is None:
            spec = self._spec(_now(), 0)
            metadata = {"name": self._name, "namespace": self._namespace}
            self._claimed = True
            made = await self._api.create(
                {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}
            )
            return made is not None and self._keep(made)
        spec = lease.get("spec") or {}
        holder, transitions = spec.get("holderIdentity") or "", spec.get("leaseTransitions") or 0
        seen = (holder, transitions, str(spec.get("renewTime")))
        if seen != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        if holder == self.identity:
            acquired = spec.get("acquireTime") or _now()
        elif self.leads or (holder and self._lives(spec)):
            return False
        else:
            acquired, transitions = _now(), transitions + 1
            self._claimed = True
        return await self._write({**lease, "spec": self._spec(acquired, transitions)})

    def _lives(self, spec: Object) -> bool:
        """Whether the holder's lease has not run out since its last sign of life was seen."""
        return time.monotonic() - self._seen_at <= max(self._seconds, spec.get("leaseDurationSeconds") or 0)

    async def _write(self, lease: Object) -> bool:
        try:
            return self._keep(await self._api.replace({"apiVersion": LEASE.api_version, "kind": LEASE.name, **lease}))
        except ConflictError:
            return False

    def _keep(self, lease: Object) -> bool:
        spec = lease["spec"]
        self._seen = (spec.get("holderIdentity") or "", spec.get("leaseTransitions") or 0, str(spec.get("renewTime")))
        self._seen_at = time.monotonic()
        return True

    def _spec(self, acquired: str, transitions: int) -> Object:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._seconds)),
            "acquireTime": acquired,
            "renewTime": _now(),
            "leaseTransitions": transitions,
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
