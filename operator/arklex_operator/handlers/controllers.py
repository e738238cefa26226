"""The controllers that the operator runs."""

from __future__ import annotations

from arklex_operator.handlers.operator import Controller
from arklex_operator.handlers.taskgraphs import task_graphs
from arklex_operator.handlers.workers import workers


def controllers() -> list[Controller]:
    """One for each kind that is reconciled; TaskGraphs come first, since they decide what is kept of a graph."""
    return [task_graphs, workers]
