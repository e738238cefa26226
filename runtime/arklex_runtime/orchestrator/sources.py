"""From whatever a caller has (a model, a dict, YAML, a file, loaded manifests) to a Program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arklex_api.base import API_VERSION
from arklex_api.loader import Manifests, load_files, load_text
from arklex_api.problems import ManifestError, Problem
from arklex_api.taskgraph import TaskGraph
from arklex_api.worker import LLM, Worker
from arklex_runtime.engine.program import Program

GraphSource = TaskGraph | dict[str, Any] | str | Path | Manifests | Program


def manifests_of(source: GraphSource) -> Manifests | TaskGraph | Program:
    """``source`` parsed. A string with a line break is YAML, any other the name of a file. Raises ManifestError."""
    if isinstance(source, TaskGraph | Program):
        return source
    if isinstance(source, dict):
        body = source if "spec" in source else {"spec": source, "metadata": {"name": "graph"}}
        return TaskGraph.model_validate({"apiVersion": API_VERSION, "kind": "TaskGraph", **body})
    if isinstance(source, Manifests):
        found = source
    else:
        text = isinstance(source, str) and "\n" in source
        found = load_text(str(source), "<text>") if text else load_files([Path(source)])
    if found.problems:
        raise ManifestError(found.problems)
    return found


def program_of(
    source: GraphSource,
    workers: dict[str, Worker],
    llm: str | None = None,
    graph: str | None = None,
    namespace: str = "default",
) -> Program:
    """The program to run. ``workers`` are there besides the source's own; ``llm`` is what graphs without spec.llm use.

    Raises ManifestError, with every problem.
    """
    parsed = manifests_of(source)
    if isinstance(parsed, Program):
        return parsed
    graphs = {parsed.metadata.name: parsed} if isinstance(parsed, TaskGraph) else dict(parsed.graphs)
    every = workers if isinstance(parsed, TaskGraph) else {**workers, **parsed.workers}
    if graph is None and len(graphs) != 1:
        what = f"{len(graphs)} TaskGraphs ({', '.join(graphs)}): say which" if graphs else "no TaskGraph"
        raise ManifestError([Problem("", "WhichGraph", f"there is {what}")])
    if llm is not None:
        graphs = {name: one if one.spec.llm else _with_llm(one, llm) for name, one in graphs.items()}
    return Program.of(graph or next(iter(graphs)), graphs, every, namespace, _folders(parsed))


def _folders(parsed: Manifests | TaskGraph) -> tuple[str, ...]:
    """Where the handlers of manifests read from files are: beside them."""
    if isinstance(parsed, TaskGraph):
        return ()
    files = (Path(document.file) for document in parsed.documents if document.kind == "Worker")
    return tuple(dict.fromkeys(str(file.resolve().parent) for file in files if file.is_file()))


def _with_llm(graph: TaskGraph, llm: str) -> TaskGraph:
    return graph.model_copy(update={"spec": graph.spec.model_copy(update={"llm": llm})})


def llm_worker(provider: str, model: str, base_url: str | None) -> Worker:
    """The Worker of the Orchestrator's own model."""
    spec = {"type": "llm", "llm": LLM(provider=provider, model=model, base_url=base_url)}
    return Worker.model_validate({"apiVersion": API_VERSION, "kind": "Worker", "metadata": {"name": "llm"}, "spec": spec})


def python_worker(name: str, concurrency: int = 10) -> Worker:
    """The Worker that stands for one registered from Python; ``concurrency``: tasks at once."""
    spec = {"type": "custom", "config": {"handler": "registered:handler"}, "concurrency": concurrency}
    return Worker.model_validate({"apiVersion": API_VERSION, "kind": "Worker", "metadata": {"name": name}, "spec": spec})


def tenant_session(namespace: str, session_id: str | None) -> str | None:
    """The key of a session on a cluster: a namespace's sessions are its own, whatever another one calls its."""
    return f"{namespace}/{session_id}" if session_id else None
