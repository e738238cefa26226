"""kopf's part: it watches, and each change it brings is put on a shelf and wakes a reconcile. Nothing else is its to do.

Only ``on.event`` handlers: those for creation, update and deletion, timers and daemons would write annotations and finalizers,
and with the operator gone no namespace of ours could be deleted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from arklex_operator.cluster.ending import end
from arklex_operator.cluster.hub import Watch
from arklex_operator.cluster.monitoring import Monitoring

ENDING, FAILING = 10.0, 1.0
"""Seconds that kopf may take to end: when it is asked to, when it has failed and another operator is to lead."""

LOGIN = 1.0
"""Seconds between two logins at the least: refused credentials are tried no faster."""

log = logging.getLogger("arklex.operator.watches")


def settings_for(watches: Collection[Watch]) -> kopf.OperatorSettings:
    """kopf's settings: streams that notice when they are dead, no scanning, no peering, no events of its own."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 90
    settings.watching.chunk_size = 500
    settings.watching.reconnect_backoff = 1.0
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = (1, 2, 4, 8, 16, 30, 30, 30, 30, 30)
    settings.queueing.idle_timeout = 1.0
    settings.process.ultimate_exiting_timeout = None
    settings.persistence.finalizer = "arklex.ai/never-set"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="arklex.ai", v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="arklex.ai", v1=False)
    for watch in watches:
        if watch.labels:
            kind = watch.shelf.kind
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = watch.labels
    return settings


def registry_for(watches: Collection[Watch], monitoring: Monitoring) -> kopf.OperatorRegistry:
    """kopf's registry: one handler for each watch, and how to log in."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login())
    for watch in watches:
        kind = watch.shelf.kind
        handler = _handler(watch, monitoring)
        kopf.on.event(kind.group, kind.version, kind.plural, id=f"watch-{kind.plural}", registry=registry)(handler)
    return registry


def login(pause: float = LOGIN) -> Callable[..., Awaitable[kopf.ConnectionInfo | None]]:
    """How kopf logs in, at most once in ``pause`` seconds.

    kopf gives credentials up when a TLS connection ends badly, as when an API server stops, and never takes equal ones again:
    its watches would be dead. So each login differs, by when it expires.
    """
    last = -math.inf

    async def handler(**kwargs: Any) -> kopf.ConnectionInfo | None:
        nonlocal last
        await asyncio.sleep(max(0.0, last + pause - time.monotonic()))
        last = time.monotonic()
        info = _connection(**kwargs)
        return info and dataclasses.replace(info, expiration=datetime.now(UTC) + timedelta(days=3650))

    return handler


def _connection(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """As the pod's ServiceAccount, by the address in the environment instead of by DNS; else as KUBECONFIG says."""
    info = kopf.login_with_service_account(**kwargs)
    if info is None:
        return kopf.login_with_kubeconfig(**kwargs)
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    if not host:
        return info
    return dataclasses.replace(info, server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}")


def _handler(watch: Watch, monitoring: Monitoring) -> Any:
    counter = monitoring.wakes.labels(watch.shelf.kind.name)

    async def seen(event: Mapping[str, Any], **_: Any) -> None:
        counter.inc()
        watch.events += 1
        watch.take(event["type"], event["object"])

    return seen


async def watch(
    watches: Collection[Watch],
    namespaces: Collection[str],
    monitoring: Monitoring,
    ready: asyncio.Event,
    stop: asyncio.Event,
    take_signals: Callable[[], None],
) -> None:
    """Watch until ``stop`` is set or kopf fails, which it logs; ``ready`` is set when kopf has begun.

    When kopf ends it cancels every task that was made after this call. It takes SIGTERM and SIGINT for itself, and
    ``take_signals`` takes them back before any can come. kopf cancels each of its tasks once and waits for ever for one that
    has lost this: those that go on after ENDING are ended here. One of its root tasks that ends is the end of kopf, as when a
    watch is told of an error: other watches may then log in again and again without a connection.
    """
    stopping = asyncio.create_task(stop.wait())
    others = asyncio.all_tasks()
    where: dict[str, Any] = {"namespaces": list(namespaces)} if namespaces else {"clusterwide": True}
    where["identity"] = "arklex-operator"  # kopf would ask for the user's name, and a container's user need not have one
    tasks = await kopf.spawn_tasks(
        registry=registry_for(watches, monitoring),
        settings=settings_for(watches),
        standalone=True,
        ready_flag=ready,
        stop_flag=stop,
        **where,
    )
    take_signals()
    running = asyncio.create_task(kopf.run_tasks(tasks, ignored=others))
    await asyncio.wait([running, stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait([running], timeout=ENDING if stop.is_set() else FAILING)
    stopping.cancel()
    if not running.done():
        log.warning("the watches do not end, ending them")
        await end(asyncio.all_tasks() - others)
        await asyncio.gather(*tasks, return_exceptions=True)
    elif not running.cancelled() and (error := running.exception()):
        log.error("the watches have failed", extra={"error": str(error)})
