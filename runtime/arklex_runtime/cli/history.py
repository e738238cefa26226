"""What ``arklex show`` tells of a run as text: its tasks, its output, every attempt, and why tasks wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arklex_runtime.cli.progress import error_text
from arklex_runtime.cli.terminal import Terminal


def shown(terminal: Terminal, document: Mapping[str, Any]) -> None:
    """The run as text; its ``events``, if it has them, after its tasks."""
    finished = f"   finished {document['finishedAt']}" if document["finishedAt"] else ""
    terminal.print(f"run {document['run']} of {document['graph']}: {document['phase']}")
    terminal.print(f"started {document['startedAt']}{finished}")
    if document["error"]:
        terminal.print(f"error: {error_text(document['error'])}")
    tasks = document["tasks"].items()
    rows = [(name, task["phase"], str(task["attempts"]), _took(task), _remark(task)) for name, task in tasks]
    terminal.print("")
    terminal.columns(("TASK", "PHASE", "ATTEMPTS", "TOOK", "REMARK"), rows)
    if "events" in document:
        _show_events(terminal, document["events"])
    if document["output"] is not None:
        terminal.print("\noutput")
        output = document["output"]
        if isinstance(output, str):
            terminal.print(output)
        else:
            terminal.document(output)


def _show_events(terminal: Terminal, events: Sequence[Mapping[str, Any]]) -> None:
    terminal.print("")
    rows = [
        (
            event["at"],
            event["event"],
            event.get("task", ""),
            str(event.get("attempt", "")),
            _words(event),
        )
        for event in events
    ]
    terminal.columns(("AT", "EVENT", "TASK", "ATTEMPT", "MESSAGE"), rows)


def _took(task: Mapping[str, Any]) -> str:
    from datetime import datetime

    from arklex_runtime.picture.text import human_seconds

    if not task["startedAt"] or not task["finishedAt"] or task["phase"] == "Skipped":
        return ""
    begin, end = (datetime.fromisoformat(task[key]) for key in ("startedAt", "finishedAt"))
    return human_seconds(max((end - begin).total_seconds(), 0.0))


def _remark(task: Mapping[str, Any]) -> str:
    parts = []
    if "items" in task:
        parts.append(f"{task['items']['done']}/{task['items']['total']} items")
    parts += [word for word, there in (("from the cache", task["cached"]), ("by its fallback", task.get("fallback"))) if there]
    if task.get("reason"):
        parts.append(task["reason"])
    if task.get("reused"):
        parts.append("kept from the run before")
    if task.get("message"):
        parts.append(task["message"])
    if task["error"]:
        parts.append(error_text(task["error"]))
    return "; ".join(" ".join(part.split()) for part in parts)


def _words(event: Mapping[str, Any]) -> str:
    until = f" (until {event['until']})" if event.get("until") else ""
    return " ".join(event.get("message", "").split()) + until
