"""What the commands print, and where: results on stdout, everything said about them on stderr."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from arklex_api.problems import Problem

_COLOURS = {
    "Succeeded": "32", "Failed": "31", "Running": "34", "Retrying": "33", "Waiting": "33", "Skipped": "2", "Cancelled": "35",
    "Pending": "2",
}  # fmt: skip


class CurrentStderr(io.TextIOBase):
    """Writes to whatever ``sys.stderr`` is at the moment: the live view puts itself there, and logs belong above it."""

    def write(self, text: str) -> int:
        """Write ``text``."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush it."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Whether a person watches."""
        return sys.stderr.isatty()


def quiet_libraries() -> None:
    """Show what handlers log, from INFO on, and only warnings of the libraries they use."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("arklex").setLevel(logging.INFO)


class Terminal:
    """``json``: results and problems as JSON documents. Colours only where stdout is a terminal."""

    def __init__(self, json: bool = False) -> None:
        self.json = json

    @property
    def interactive(self) -> bool:
        """Whether a person watches stderr and can answer on stdin."""
        return sys.stderr.isatty() and sys.stdin is not None and sys.stdin.isatty()

    def print(self, text: str) -> None:
        """A result."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def document(self, value: Any) -> None:
        """A result as JSON."""
        self.print(json.dumps(value, indent=2, ensure_ascii=False))

    def note(self, text: str) -> None:
        """A remark."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def problems(self, problems: Sequence[Problem]) -> None:
        """What was refused: lines ``file:line: path: message`` on stderr, or ``{errors: […]}`` on stdout."""
        if self.json:
            self.document({"errors": [problem_document(problem) for problem in problems]})
            return
        for problem in problems:
            self.note(problem_line(problem))

    def columns(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table; the last column is as wide as it likes."""
        table = [list(header), *(list(row) for row in rows)]
        widths = [max(len(row[column]) for row in table) for column in range(len(header) - 1)]
        for row in table:
            cells = [self._coloured(cell, width) for cell, width in zip(row, widths, strict=False)]
            self.print("  ".join([*cells, row[-1]]).rstrip())

    def _coloured(self, cell: str, width: int) -> str:
        padded = cell.ljust(width)
        colour = _COLOURS.get(cell) if sys.stdout.isatty() else None
        return f"\x1b[{colour}m{padded}\x1b[0m" if colour else padded


def problem_document(problem: Problem) -> dict[str, Any]:
    """``{file, line, path, reason, message}``."""
    return {
        "file": problem.file,
        "line": problem.line,
        "path": problem.path,
        "reason": problem.reason,
        "message": problem.message,
    }


def problem_line(problem: Problem) -> str:
    """``file:line: path: message (reason)``, without what is not known."""
    place = ":".join(str(part) for part in (problem.file, problem.line) if part is not None)
    words = ": ".join(part for part in (place, problem.path, problem.message) if part)
    return f"{words} ({problem.reason})"
