"""What a replica asks of the room that speaks to the API server (``kube`` implements it); the other way is kube/ports.py."""

from __future__ import annotations

from typing import Protocol

from arklex_runtime.engine.program import Program


class Cluster(Protocol):
    """The objects on the API server, as the watches told them last. Made with the Replica it serves.

    ``arklex_runtime.kube.link.ClusterLink(replica, api, namespaces=…, instance=POD_NAME, writes_per_second=20)``;
    ``namespaces`` is empty for all.
    """

    @property
    def synced(self) -> bool:
        """Whether everything has been listed once: before that nothing is known not to exist, and the replica is unready."""

    @property
    def healthy(self) -> bool:
        """False once a watch has stalled for so long that only a restart helps."""

    def serves(self, namespace: str) -> bool:
        """Whether this installation looks after ``namespace``."""

    def program_of(self, namespace: str, graph: str) -> tuple[Program, str]:
        """What a run of this TaskGraph runs now, and the TaskGraph's UID. Raises as ``Catalog.program_of`` does."""

    async def run(self) -> None:
        """Watch, start and cancel runs, report, until cancelled. Outages of the API server are waited out, never raised."""

    async def aclose(self) -> None:
        """Close the connections, after ``run`` has ended."""
