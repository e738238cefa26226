"""``run``, ``runs``, ``show``, ``logs``, ``cancel`` and ``approve`` over the door; documents and exit codes as embedded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from arklex_runtime.cli import inputs
from arklex_runtime.cli.conduct import Order
from arklex_runtime.cli.failures import Refused
from arklex_runtime.cli.history import shown
from arklex_runtime.cli.remote.client import Server, Unreachable
from arklex_runtime.cli.terminal import Terminal

TERMINAL = ("Succeeded", "Failed", "Cancelled")
LOOK = 0.3
"""Seconds between two looks at a run that goes on; up to ten times as many once it takes long."""
AWAY = 60.0
"""Seconds for which a door that does not answer is asked again, while a run is watched."""


def run_there(terminal: Terminal, server: Server, names: Sequence[str], order: Order, *, quiet: bool) -> int:
    """Run a TaskGraph of the cluster, by its name, and follow it to its end."""
    if len(names) != 1 or order.graph not in (None, *names):
        raise Refused.of("FILE", "WhichGraph", "with --server, name one TaskGraph of the cluster instead of files")
    body = {
        "query": order.query,
        "input": inputs.read_json(order.input, "--input"),
        "context": inputs.read_map(order.context, "--context"),
        "sessionId": order.session,
    }
    given = {key: value for key, value in body.items() if value is not None}
    begun = _begin(terminal, server, server.path("taskgraphs", names[0], "runs"), given)
    run = str(begun["run"])
    if not quiet:
        terminal.note(f"run {run}")
    return _ended(terminal, _follow(terminal, server, run, quiet))


def _begin(terminal: Terminal, server: Server, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Start the run, once, however often the door must be asked."""
    key = uuid4().hex
    for pause in (0.5, 1.0, 2.0):
        try:
            return dict(server.post(path, body, key))
        except Unreachable as error:
            terminal.note(f"{error}; trying again")
            time.sleep(pause)
    return dict(server.post(path, body, key))


def _follow(terminal: Terminal, server: Server, run: str, quiet: bool) -> dict[str, Any]:
    """The document of the run once it is over; one line for each change of a task's phase."""
    seen: dict[str, str] = {}
    pause, answered = LOOK, time.monotonic()
    while True:
        try:
            document = dict(server.get(server.path("runs", run)))
            answered = time.monotonic()
        except Unreachable:
            if time.monotonic() - answered > AWAY:
                raise
            time.sleep(LOOK * 5)
            continue
        for name, task in document["tasks"].items():
            if task["phase"] not in ("Pending", seen.get(name)):
                seen[name] = task["phase"]
                if not quiet:
                    terminal.note(f"{name} {task['phase']}")
        if document["phase"] in TERMINAL:
            return document
        time.sleep(pause)
        pause = min(pause * 1.1, LOOK * 10)


def _ended(terminal: Terminal, document: Mapping[str, Any]) -> int:
    if terminal.json:
        terminal.document(document)
    elif document["phase"] == "Succeeded":
        output = document["output"]
        if isinstance(output, str):
            terminal.print(output)
        elif output is not None:
            terminal.document(output)
    else:
        error = document["error"] or {}
        terminal.note(f"run {document['run']} {document['phase'].lower()}: {error.get('message', '')}")
    return int(document["phase"] != "Succeeded")


def list_there(terminal: Terminal, server: Server, phase: str | None, graph: str | None, limit: int) -> int:
    """Runs, newest first."""
    wanted = phase.capitalize() if phase else None
    rows = server.get(server.path("runs", phase=wanted, graph=graph, limit=limit))["runs"]
    if terminal.json:
        terminal.document(rows)
    elif rows:
        cells = [(row["run"], row["graph"], row["phase"], row["startedAt"]) for row in rows]
        terminal.columns(("RUN", "GRAPH", "PHASE", "STARTED"), cells)
    else:
        terminal.note("no runs")
    return 0


def show_there(terminal: Terminal, server: Server, run: str, *, events: bool, picture: str | None) -> int:
    """A run's document, and what happened in it."""
    if picture is not None:
        raise Refused.of("--picture", "Unsupported", "a run is drawn from its database: give --db instead of --server")
    document = dict(server.get(server.path("runs", run)))
    if events:
        document["events"] = server.get(server.path("runs", run, "events"))["events"]
    if terminal.json:
        terminal.document(document)
    else:
        shown(terminal, document)
    return 0


def logs_there(terminal: Terminal, server: Server, run: str, task: str | None) -> int:
    """What the attempts logged."""
    print_logs(terminal, server.get(server.path("runs", run, "logs", task=task))["logs"])
    return 0


def print_logs(terminal: Terminal, logs: Sequence[Mapping[str, Any]]) -> None:
    """Logs of attempts: ``{task, attempt, pod, node, text}``."""
    if terminal.json:
        terminal.document(list(logs))
        return
    for one in logs:
        place = f" on {one['pod']}" if one.get("pod") else ""
        terminal.note(f"── {one['task']} attempt {one['attempt']}{place}")
        terminal.print(one["text"])
    if not logs:
        terminal.note("no logs are stored of this run")


def cancel_there(terminal: Terminal, server: Server, run: str) -> int:
    """Ask a run to end."""
    server.post(server.path("runs", run, "cancel"), {})
    if terminal.json:
        terminal.document({"run": run, "cancel": "requested", "owned": True})
    else:
        terminal.print(f"run {run} is asked to end")
    return 0


def approve_there(
    terminal: Terminal, server: Server, run: str, task: str, *, approved: bool, data: str | None, by: str | None
) -> int:
    """Decide on an approval."""
    from arklex_runtime.cli.journal import login

    name = by or login()
    decision = {"approved": approved, "by": name, "data": inputs.read_json(data, "--data")}
    server.post(server.path("runs", run, "approvals", task), decision)
    if terminal.json:
        terminal.document({"run": run, "task": task, "approved": approved, "by": name})
    else:
        terminal.print(f"{task} of {run}: {'approved' if approved else 'rejected'}")
    return 0
