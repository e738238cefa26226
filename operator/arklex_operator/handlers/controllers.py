"""The controllers that the operator runs."""

from __future__ import annotations

from arklex_operator.cluster.accounts import Accounts
from arklex_operator.cluster.broker import Broker, connect
from arklex_operator.cluster.figures import Meter
from arklex_operator.cluster.hub import Hub
from arklex_operator.cluster.store import key_of
from arklex_operator.cluster.surroundings import Surroundings
from arklex_operator.cluster.sweeper import Sweeper
from arklex_operator.cluster.workers import Workers
from arklex_operator.handlers.operator import Controller
from arklex_operator.handlers.taskgraphs import task_graphs
from arklex_operator.manifests.kinds import TASK_GRAPH


def controllers() -> list[Controller]:
    """One for each kind that is reconciled."""
    return [worker_controller, task_graphs]


def worker_controller(hub: Hub) -> None:
    """Workers, with what they need of Redis."""
    broker = Broker(connect(hub.settings), hub.monitoring)
    accounts = Accounts(hub.api, broker, hub.settings)
    surroundings = Surroundings(hub.api, lambda: workers.wake_all())
    workers = Workers(hub, accounts, surroundings)
    accounts.changed = workers.wake_all
    broker.restored.append(accounts.restore)
    meter = Meter(
        hub.api,
        broker.redis,
        hub.settings.namespaces,
        lambda: [key_of(worker) for worker in workers.workers],
        workers.pods_of,
        workers.read,
    )
    sweeper = Sweeper(
        broker.redis,
        workers.workers,
        hub.watches[TASK_GRAPH].shelf,
        hub.settings.namespaces,
        accounts.namespaces,
        accounts.remove,
    )
    hub.run(workers, width=4)
    hub.tasks += [broker.run, surroundings.run, meter.run, sweeper.run]
