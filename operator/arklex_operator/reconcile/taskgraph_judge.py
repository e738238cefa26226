"""Whether a TaskGraph can run as it is, and whether its Workers are there: the conditions Accepted and WorkersReady.

Accepted says what ``arklex lint`` would say with all objects of the namespace. A graph whose sub-graph is not accepted is not
either: a run takes both as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from arklex_api.graphs import sub_graph_problems
from arklex_api.paths import Steps, render
from arklex_api.problems import Problem
from arklex_api.uses import Known, use_problems
from arklex_operator.reconcile.taskgraph_read import GraphFacts, WorkerFacts

LOOK = "`kubectl describe worker` says why"
_SHOWN = 3
_LONGEST = 2048


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The Workers and TaskGraphs of a namespace, by name."""

    workers: Mapping[str, WorkerFacts]
    graphs: Mapping[str, GraphFacts]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition without its times."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str

    def condition(self, before: Mapping[str, Any], generation: int, now: datetime) -> dict[str, Any]:
        """The condition; its transition is ``now`` unless ``before`` had the same status."""
        same = before.get("status") == self.status and before.get("lastTransitionTime")
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": before["lastTransitionTime"] if same else rfc3339(now),
            "observedGeneration": generation,
        }


def rfc3339(time: datetime) -> str:
    """``time``, UTC, in whole seconds, as Kubernetes writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def judge(graph: GraphFacts, near: Neighbours) -> tuple[Verdict, Verdict]:
    """Accepted and WorkersReady of ``graph``, which is one of the graphs ``near``."""
    problems = list(problems_of(graph, near))
    if not problems:
        return Verdict("Accepted", "True", "Valid", "every name and expression is right"), _workers_ready(graph, near)
    shown = "; ".join(f"{each.path}: {each.message}" if each.path else each.message for each in problems[:_SHOWN])
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    message = shown if len(shown) + len(more) <= _LONGEST else shown[: _LONGEST - len(more) - 1] + "…"
    unknown = Verdict("WorkersReady", "Unknown", "NotAccepted", "judged once the graph is accepted")
    return Verdict("Accepted", "False", problems[0].reason, message + more), unknown


def problems_of(graph: GraphFacts, near: Neighbours) -> Iterator[Problem]:
    """All that is wrong with ``graph``, its sub-graphs included."""
    if graph.text.problems:
        yield from graph.text.problems
        return
    known = Known({name: worker.type for name, worker in near.workers.items()}, near.graphs, on_cluster=True)
    yield from _use_problems(graph, known)
    if graph.text.uses.graphs:
        yield from _below_problems(graph, near, known)


def _use_problems(graph: GraphFacts, known: Known) -> Iterator[Problem]:
    return (Problem(render(each.steps), each.reason, each.message) for each in use_problems(graph.text.uses, known))


def _below_problems(graph: GraphFacts, near: Neighbours, known: Known) -> Iterator[Problem]:
    below = reachable(graph, near)
    calls = {name: facts.text.uses.graphs for name, facts in below.items()}
    bad: dict[str, Problem] = {}
    for call, reason, message in sub_graph_problems(calls):
        problem = Problem(render(call.steps), reason, message)
        if call.graph == graph.name:
            yield problem
        bad.setdefault(call.graph, problem)
    for name, facts in below.items():
        if name != graph.name and name not in bad:
            own = (*facts.text.problems, *_use_problems(facts, known))
            if own:
                bad[name] = own[0]
    for steps, child in graph.text.uses.graphs:
        if child in below and child != graph.name:
            yield from _child_problem(steps, below[child], near, {name: bad[name] for name in bad if name != graph.name})


def _child_problem(steps: Steps, child: GraphFacts, near: Neighbours, bad: Mapping[str, Problem]) -> Iterator[Problem]:
    name = next((name for name in reachable(child, near) if name in bad), None)
    if name is not None:
        what = f"TaskGraph '{child.name}' is not accepted"
        where = "" if name == child.name else f" (for its sub-graph '{name}')"
        why = f"{bad[name].path}: {bad[name].message}" if bad[name].path else bad[name].message
        yield Problem(render((*steps, "graph")), "GraphNotAccepted", f"{what}{where}: {why}")


def reachable(graph: GraphFacts, near: Neighbours) -> dict[str, GraphFacts]:
    """``graph`` and all graphs below it that exist, nearest first."""
    found = {graph.name: graph}
    waiting = [graph]
    for each in waiting:
        for _, name in each.text.uses.graphs:
            if name in near.graphs and name not in found:
                found[name] = near.graphs[name]
                waiting.append(near.graphs[name])
    return found


def workers_of(graph: GraphFacts, near: Neighbours) -> list[str]:
    """Names of the Workers that a run of ``graph`` may use, those of its sub-graphs included; sorted."""
    texts = [facts.text for facts in reachable(graph, near).values()]
    names = {use.name for text in texts for use in text.uses.workers}
    if any(text.uses.tools for text in texts):
        names.update(worker.name for worker in near.workers.values() if worker.type == "tool")
    return sorted(names)


def _workers_ready(graph: GraphFacts, near: Neighbours) -> Verdict:
    names = workers_of(graph, near)
    if not names:
        return Verdict("WorkersReady", "True", "NoWorkers", "no task needs a Worker")
    workers = [near.workers[name] for name in names if name in near.workers]
    refused = [worker.name for worker in workers if not worker.accepted]
    if refused:
        return Verdict("WorkersReady", "False", "WorkerNotAccepted", f"Workers that are not accepted: {_some(refused)}; {LOOK}")
    empty = [worker.name for worker in workers if not worker.ready and not worker.idle]
    if empty:
        return Verdict("WorkersReady", "False", "NoReadyPod", f"Workers without a ready pod: {_some(empty)}; {LOOK}")
    return Verdict("WorkersReady", "True", "Ready", "every Worker has a ready pod, or is at zero until there is work")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
