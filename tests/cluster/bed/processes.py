"""Processes that outlive the command that starts them, known by id and start time so that no other's is ever ended."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.bed import cgroups
from tests.cluster.bed.place import Place


class NotStarted(RuntimeError):
    """A process of the bed did not come up; the words are the end of its log."""

    def __init__(self, place: Place, name: str) -> None:
        super().__init__(f"{name} of {place.name} is not running\n{log_end(place, name)}")


def log_end(place: Place, name: str, size: int = 3000) -> str:
    """Return the last bytes of what a process printed, empty if there is nothing."""
    with contextlib.suppress(FileNotFoundError):
        return (place.logs / f"{name}.log").read_bytes()[-size:].decode(errors="replace")
    return ""


def start(place: Place, name: str, command: list[str], environment: Mapping[str, str] | None = None) -> int:
    """Start a process of the bed in its cgroup, return its id; its output goes to the bed's logs."""
    place.logs.mkdir(parents=True, exist_ok=True)
    _command(place, name).write_text(json.dumps([command, dict(environment or {})]))
    join = f'cd {shlex.quote(str(place.state))} && echo $$ > {cgroups.join_file(place.name)} && exec "$@"'
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    with (place.logs / f"{name}.log").open("ab") as log, Path(os.devnull).open("rb") as nothing:
        number = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", join, name, *command],
            {"PATH": path, "HOME": str(place.state), **(environment or {})},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
            ],
            setsid=True,
        )
    _file(place, name).write_text(f"{number} {_started(number)}")
    return number


def start_again(place: Place, name: str) -> int:
    """Start a process that has ended as it was started before."""
    command, environment = json.loads(_command(place, name).read_text())
    return start(place, name, command, environment)


def pid(place: Place, name: str) -> int | None:
    """Return the id of a process of the bed that runs, None if it does not."""
    with contextlib.suppress(OSError, ValueError):
        number, started = _file(place, name).read_text().split()
        if _started(int(number)) == started:
            return int(number)
    return None


def stop(place: Place, name: str, patience: float, how: signal.Signals = signal.SIGTERM) -> None:
    """End a process in order; after ``patience`` seconds kill it."""
    deadline = time.monotonic() + patience
    while (number := pid(place, name)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, how if time.monotonic() < deadline else signal.SIGKILL)
        _wait(place, name, deadline)
        if time.monotonic() > deadline + 5:
            break
    _file(place, name).unlink(missing_ok=True)


def _wait(place: Place, name: str, deadline: float) -> None:
    while pid(place, name) is not None:
        time.sleep(0.02)
        if time.monotonic() > deadline:
            return


def _command(place: Place, name: str) -> Path:
    return place.state / f"{name}.command"


def _file(place: Place, name: str) -> Path:
    return place.state / f"{name}.pid"


def _started(number: int) -> str:
    """Return when a process started, in ticks since boot; raises OSError if it is gone, and for one that is not yet reaped."""
    words = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    if words[0] in "ZX":
        with contextlib.suppress(ChildProcessError):
            os.waitpid(number, os.WNOHANG)
        raise ProcessLookupError(number)
    return words[19]
