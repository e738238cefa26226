"""Names and printer columns of the kinds: what ``kubectl get`` shows."""

from __future__ import annotations

from typing import NamedTuple

from arklex_api.base import KubeModel
from arklex_api.run import TaskGraphRun
from arklex_api.taskgraph import TaskGraph
from arklex_api.worker import Worker


class Column(NamedTuple):
    """One printer column; columns of priority 1 show with ``-o wide`` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0

    def render(self) -> dict[str, str | int]:
        """As additionalPrinterColumns has it."""
        column: dict[str, str | int] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return {**column, "priority": self.priority} if self.priority else column


class KindInfo(NamedTuple):
    """How a kind is called."""

    model: type[KubeModel]
    plural: str
    short: str
    columns: tuple[Column, ...]

    @property
    def kind(self) -> str:
        """The kind's name."""
        return self.model.__name__


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_ACCEPTED = Column("Accepted", '.status.conditions[?(@.type=="Accepted")].status', priority=1)


def _why(condition: str) -> Column:
    """What a condition says: the reason and the remedy for an object whose other cells are empty or low."""
    return Column("Why", f'.status.conditions[?(@.type=="{condition}")].message', priority=1)


KINDS = (
    KindInfo(
        Worker,
        "workers",
        "wk",
        (
            Column("Type", ".spec.type"),
            Column("Ready", ".status.readyReplicas", "integer"),
            Column("Desired", ".status.desiredReplicas", "integer"),
            Column("Load", ".status.load"),
            Column("Queued", ".status.queued", "integer"),
            _AGE,
            _ACCEPTED,
            _why("Available"),
        ),
    ),
    KindInfo(
        TaskGraph,
        "taskgraphs",
        "tg",
        (
            Column("Status", ".status.phase"),
            Column("Progress", ".status.lastRun.progress"),
            Column("Last Run", ".status.lastRun.name"),
            Column("Duration", ".status.lastRun.duration"),
            Column("Active", ".status.runs.active", "integer"),
            _AGE,
            Column("Message", ".status.lastRun.message"),
            _ACCEPTED,
            _why("Accepted"),
        ),
    ),
    KindInfo(
        TaskGraphRun,
        "taskgraphruns",
        "tgr",
        (
            Column("Graph", ".spec.graph"),
            Column("Status", ".status.phase"),
            Column("Progress", ".status.progress"),
            Column("Duration", ".status.duration"),
            _AGE,
            Column("Message", ".status.message"),
        ),
    ),
)
