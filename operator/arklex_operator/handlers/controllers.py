"""The controllers that the operator runs."""

from __future__ import annotations

from arklex_operator.handlers.operator import Controller
from arklex_operator.handlers.taskgraphs import task_graphs


def controllers() -> list[Controller]:
    """One for each kind that is reconciled."""
    return [task_graphs]
