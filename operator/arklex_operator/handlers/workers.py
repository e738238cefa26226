"""The Workers' controller, with what it needs of Redis."""

from __future__ import annotations

from arklex_operator.cluster.accounts import Accounts
from arklex_operator.cluster.broker import Broker
from arklex_operator.cluster.costs import Costs
from arklex_operator.cluster.figures import Meter
from arklex_operator.cluster.hub import Hub
from arklex_operator.cluster.queues import Queues, connect
from arklex_operator.cluster.store import key_of
from arklex_operator.cluster.surroundings import Surroundings
from arklex_operator.cluster.sweeper import Sweeper
from arklex_operator.cluster.workers import Workers
from arklex_operator.manifests.kinds import TASK_GRAPH


def workers(hub: Hub) -> None:
    """Set the controller up."""
    broker = Broker(connect(hub.settings.redis_url, hub.settings.redis_password_file), hub.monitoring)
    accounts = Accounts(hub.api, broker, hub.settings)
    surroundings = Surroundings(hub.api, lambda: reconciler.wake_all())
    reconciler = Workers(hub, accounts, surroundings)
    accounts.changed = reconciler.wake_all
    broker.restored.append(accounts.restore)
    meter = Meter(
        hub.api,
        Queues(broker.redis),
        hub.settings.namespaces,
        lambda: [key_of(worker) for worker in reconciler.workers],
        reconciler.pods_of,
        reconciler.pools.read,
    )
    sweeper = Sweeper(
        broker.redis,
        reconciler.workers,
        hub.watches[TASK_GRAPH].shelf,
        hub.settings.namespaces,
        accounts.namespaces,
        accounts.remove,
    )
    costs = Costs(hub.api, broker.redis, reconciler.pools.sizes)
    reconciler.before_shrinking = costs.before_shrinking
    hub.run(reconciler, width=4)
    hub.tasks += [broker.run, surroundings.run, meter.run, sweeper.run, costs.run]
