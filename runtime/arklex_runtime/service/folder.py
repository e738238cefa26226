"""Objects out of files in place of an API server: for trying a runtime without a cluster, and for tests of it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from arklex_api.lint import lint
from arklex_api.loader import load_files
from arklex_runtime.engine.program import Program
from arklex_runtime.errors import GraphNotFoundError
from arklex_runtime.service.settings import SettingsError


class FolderCluster:
    """``service.ports.Cluster`` over manifests that are read once; all of one namespace."""

    synced = True
    healthy = True

    def __init__(self, place: Path, namespace: str) -> None:
        """Raises SettingsError with every problem."""
        manifests = load_files([str(place)])
        problems = lint(manifests)
        if problems:
            said = "; ".join(f"{problem.file}:{problem.line}: {problem.path}: {problem.message}" for problem in problems)
            raise SettingsError(f"ARKLEX_MANIFESTS: {said}")
        folder = place if place.is_dir() else place.parent
        self._namespace = namespace
        self._programs = {
            name: Program.of(name, manifests.graphs, manifests.workers, namespace, (str(folder.resolve()),))
            for name in manifests.graphs
        }

    def serves(self, namespace: str) -> bool:
        """Whether the objects are of this namespace."""
        return namespace == self._namespace

    def program_of(self, namespace: str, graph: str) -> tuple[Program, str]:
        """See Cluster."""
        program = self._programs.get(graph) if namespace == self._namespace else None
        if program is None:
            raise GraphNotFoundError(f"there is no TaskGraph '{graph}' in namespace '{namespace}'")
        return program, hashlib.sha256(f"{namespace}/{graph}".encode()).hexdigest()[:32]

    def taken_over(self, run_id: str) -> None:
        """Nobody is told: the log has it."""

    async def run(self) -> None:
        """Nothing changes."""
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        """Nothing is open."""
