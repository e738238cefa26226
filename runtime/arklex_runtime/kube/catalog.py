"""Programs of the TaskGraphs that the API server has, compiled once for each version of all they reach."""

from __future__ import annotations

from collections import OrderedDict

from arklex_api.problems import ManifestError, Problem
from arklex_runtime.engine.program import Program
from arklex_runtime.errors import ArklexError, GraphNotFoundError, WorkerNotFoundError
from arklex_runtime.kube.api import GRAPHS, WORKERS
from arklex_runtime.kube.objects import Name, Objects

KEPT = 256
"""Programs kept; one that was not asked for longest is compiled again."""

Version = tuple[tuple[str, str, str, int], ...]


class GraphNotAccepted(ArklexError):
    """The operator refused this version of the graph, and says why."""

    reason = "GraphNotAccepted"
    http_status = 409
    problem_type = "graph-not-accepted"


class GraphInvalid(ArklexError):
    """The graph cannot be run as it is: another version of it may."""

    reason = "InvalidGraph"
    http_status = 422
    problem_type = "invalid-graph"


class Catalog:
    """``program_of`` for a namespace's graphs. What it raises is what a run ends, or waits, with."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._kept: OrderedDict[Name, tuple[Version, Program]] = OrderedDict()

    def program_of(self, namespace: str, name: str) -> Program:
        """The program of a TaskGraph as it is now.

        Raises GraphNotFoundError and WorkerNotFoundError for what may still come, GraphNotAccepted while the operator refuses
        this version, GraphInvalid for a graph that this version cannot run.
        """
        graph = self._objects.graph(namespace, name)
        if graph is None:
            raise GraphNotFoundError(f"there is no TaskGraph '{name}' in namespace '{namespace}'")
        if graph.model is None:
            raise GraphInvalid(f"this version of arklex cannot read TaskGraph '{name}': {graph.problem}")
        accepted = graph.condition("Accepted")
        if accepted is not None and accepted.get("status") == "False":
            why = f"{accepted.get('reason')}: {accepted.get('message')}"
            raise GraphNotAccepted(f"TaskGraph '{name}' is not accepted: {why}")
        kept = self._kept.get((namespace, name))
        if kept is None or kept[0] != self._version(namespace, kept[1]):
            program = self._compile(namespace, name)
            kept = self._version(namespace, program), program
            self._kept[namespace, name] = kept
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end((namespace, name))
        return kept[1]

    def _compile(self, namespace: str, name: str) -> Program:
        graphs, workers = self._objects.readable(GRAPHS, namespace), self._objects.readable(WORKERS, namespace)
        try:
            return Program.of(name, graphs, workers, namespace)
        except ManifestError as error:
            raise _told(error.problems, name) from None
        except ValueError as error:
            raise GraphInvalid(f"TaskGraph '{name}': {error}") from None

    def _version(self, namespace: str, program: Program) -> Version:
        """UIDs and generations of all that the program was made of; other objects do not matter to it."""
        graphs = [("graph", name, self._objects.graph(namespace, name)) for name in program.graphs]
        pools = [("worker", name, self._objects.pool(namespace, name)) for name in program.workers]
        return tuple(
            (kind, name, each.uid if each else "", each.generation if each else 0) for kind, name, each in graphs + pools
        )


def _told(problems: list[Problem], name: str) -> ArklexError:
    """The error for what is wrong: what may come by itself only if nothing else is wrong."""
    text = "; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in problems[:5])
    reasons = {problem.reason for problem in problems}
    if reasons == {"UnknownWorker"}:
        return WorkerNotFoundError(f"TaskGraph '{name}': {text}")
    if reasons == {"UnknownGraph"}:
        return GraphNotFoundError(f"TaskGraph '{name}': {text}")
    return GraphInvalid(f"TaskGraph '{name}': {text}")
