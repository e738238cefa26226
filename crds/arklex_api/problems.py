"""What lint, the loader and the operator report about a manifest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one field.

    ``path`` is Kubernetes style (``spec.tasks[0].value``), ``reason`` a CamelCase word for machines, ``message`` names the fix.
    """

    path: str
    reason: str
    message: str
    file: str | None = None
    line: int | None = None


class ManifestError(ValueError):
    """A manifest that cannot be accepted; ``problems`` says why, at least one."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in problems))
        self.problems = problems
