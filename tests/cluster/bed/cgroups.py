"""The bed's cgroups: its processes, pods included, are below one of its own, found and ended there whatever died."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")
SYSTEM = "system"
"""The cgroup below the bed's that holds what is not a pod."""


def hierarchies() -> dict[Path, str]:
    """Return the mounted hierarchies with their kinds, ``cgroup`` (version 1) or ``cgroup2``."""
    rows = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return {Path(row[1]): row[2] for row in rows if row[2] in {"cgroup", "cgroup2"}}


def tracker() -> Path:
    """Return the hierarchy in which all processes of a bed are found."""
    found = hierarchies()
    two = [path for path, kind in found.items() if kind == "cgroup2"]
    one = [path for path in found if path.name in {"pids", "freezer", "memory"}]
    if not two + one:
        raise LookupError("no cgroups are mounted")
    return (two + one)[0]


def create(name: str) -> None:
    """Make the bed's cgroup in every hierarchy, with the controllers that pods need."""
    for root, kind in hierarchies().items():
        for parent, folder in ((root, root / name), (root / name, root / name / SYSTEM)):
            if kind == "cgroup2":
                _delegate(parent)
            folder.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):  # version 1: nothing can join before they are set
                if kind == "cgroup" and (folder / file).exists():
                    (folder / file).write_text((parent / file).read_text())


def _delegate(folder: Path) -> None:
    for controller in CONTROLLERS:
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def join_file(name: str) -> Path:
    """Return the file a process writes its id to, to belong to the bed; its children follow."""
    return tracker() / name / SYSTEM / "cgroup.procs"


def processes(name: str) -> set[int]:
    """Return the ids of the bed's processes."""
    found: set[int] = set()
    for file in (tracker() / name).rglob("cgroup.procs"):
        with contextlib.suppress(OSError):
            found |= {int(word) for word in file.read_text().split()}
    return found - {0, os.getpid()}


def kill(name: str, patience: float = 30) -> set[int]:
    """Kill the bed's processes; return those that still live after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while (left := processes(name)) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
    return left


def remove(name: str, patience: float = 10) -> list[Path]:
    """Remove the bed's cgroups, empty by now; return those that would not go."""
    left: list[Path] = []
    for root in hierarchies():
        deadline = time.monotonic() + patience
        while (root / name).exists():
            folders = sorted(
                (folder for folder in (root / name).rglob("*") if folder.is_dir()), key=lambda path: -len(path.parts)
            )
            for folder in [*folders, root / name]:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            if time.monotonic() > deadline:
                left.append(root / name)
                break
            time.sleep(0.02)
    return left
