"""What a measurement costs in processor time: of this process and of the ones it started, by what they are."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NAMES = {"redis-server": "Redis", "postgres": "PostgreSQL", "postgres:": "PostgreSQL"}
"""By the first word of a command line; anything else that was started is a worker."""
HERE = "client"


def processor_seconds() -> dict[str, float]:
    """Seconds since each began. Linux only; empty elsewhere."""
    found: dict[str, float] = {}
    if Path("/proc/self/schedstat").exists():
        _add(found, os.getpid(), HERE)
    return found


def _add(found: dict[str, float], pid: int, name: str) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found[name] = found.get(name, 0.0) + int((thread / "schedstat").read_text().split()[0]) / 1e9
            for child in (thread / "children").read_text().split():
                _add(found, int(child), _name(child))


def _name(pid: str) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
    return NAMES.get(Path(words[0]).name, "worker") if words else "worker"


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Seconds between the two."""
    return {name: after[name] - before.get(name, 0.0) for name in after}
