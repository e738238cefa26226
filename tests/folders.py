"""The command line as a user has it: real processes of ``arklex``, in a folder with manifests and handlers."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from arklex_api.base import API_VERSION

PATIENCE = 90
"""Seconds after which a command counts as hung. Nothing that passes comes near it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said. ``json`` is its stdout as a document."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def message(self) -> str:
        """The first problem of a refusal."""
        return str(self.json["errors"][0]["message"])


class Command:
    """A command on its way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def end(self) -> Answer:
        """Wait for it."""
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it hangs: {self.process.communicate()}") from None
        return Answer(self.process.returncode, out, err)


class Folder:
    """A folder with ``graph.yaml``, ``handlers.py`` and a database; ``environ`` is added to the commands' environment."""

    def __init__(self, path: Path, handlers: str = "", db: Path | None = None) -> None:
        self.path = path
        self.db = db or path / "journal.db"
        self.environ: dict[str, str] = {}
        (path / "handlers.py").write_text(handlers)

    def graph(self, tasks: list[dict[str, Any]], *, concurrency: int = 10, name: str = "graph", **spec: Any) -> None:
        """Write a graph whose workers are the functions of ``handlers.py``, with ``-`` for ``_``."""
        every = [*tasks, *spec.get("finally", [])]
        used = sorted({task["worker"] for task in every if "worker" in task})
        documents = [worker(f"handlers:{one.replace('-', '_')}", one, concurrency) for one in used]
        graph = {"apiVersion": API_VERSION, "kind": "TaskGraph", "metadata": {"name": name}, "spec": {"tasks": tasks, **spec}}
        (self.path / "graph.yaml").write_text(yaml.safe_dump_all([*documents, graph], sort_keys=False, allow_unicode=True))

    def start(self, *words: str, **options: Any) -> Command:
        """Start ``arklex`` on the folder's database; it answers in JSON."""
        command = [sys.executable, "-m", "arklex_runtime.cli", *words, "--output", "json", "--db", str(self.db)]
        before = [self.environ["PYTHONPATH"]] if "PYTHONPATH" in self.environ else []
        environ = {**os.environ, **self.environ, "PYTHONPATH": os.pathsep.join([*before, *sys.path])}
        pipe = subprocess.PIPE
        return Command(
            subprocess.Popen(
                command, cwd=self.path, env=environ, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, **options
            )
        )

    def run(self, *words: str, **options: Any) -> Answer:
        """Run ``arklex`` to its end."""
        return self.start(*words, **options).end()

    def only_run(self) -> str:
        """The id of the one run in the database."""
        with closing(sqlite3.connect(self.db)) as connection:
            ((run,),) = connection.execute("SELECT run_id FROM runs").fetchall()
        return str(run)


def worker(handler: str, name: str, concurrency: int = 10) -> dict[str, Any]:
    """A custom Worker."""
    spec = {"type": "custom", "concurrency": concurrency, "config": {"handler": handler}}
    return {"apiVersion": API_VERSION, "kind": "Worker", "metadata": {"name": name}, "spec": spec}
