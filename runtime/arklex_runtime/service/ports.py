"""What a replica asks of whoever knows the objects: the room ``kube``, which asks back by ``kube/ports.py``, or a folder."""

from __future__ import annotations

from typing import Protocol

from arklex_runtime.engine.program import Program


class Cluster(Protocol):
    """The objects, as they were told last. Made with the Replica it serves."""

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

    def taken_over(self, run_id: str) -> None:
        """This replica goes on with a run whose owner died: for people to know."""

    async def run(self) -> None:
        """Watch, start and cancel runs, report, until cancelled. Outages of the API server are waited out, never raised."""

    async def aclose(self) -> None:
        """Close the connections, after ``run`` has ended."""
