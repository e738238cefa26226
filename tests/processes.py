"""Python code in processes of its own, with the tests' import path."""

from __future__ import annotations

import subprocess
import sys
from typing import Any


def start_python(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start the code; its stdin, stdout and stderr are pipes of text."""
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **options)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a process that must succeed; return what it printed."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def finish_all(processes: list[subprocess.Popen[str]]) -> None:
    """Wait for all of them, then fail for those that did."""
    ended = [(process, process.communicate(timeout=120)[1]) for process in processes]
    assert [error for process, error in ended if process.returncode != 0] == []


def say(process: subprocess.Popen[str], line: str = "") -> None:
    """Write a line to the process."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    """Read a line that the process prints; fails with its errors if it has none."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate(timeout=60)[1])
    return line.strip()


def kill(process: subprocess.Popen[str]) -> str:
    """Kill a process (SIGKILL); return what it had printed that was not heard yet."""
    process.kill()
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdin, process.stdout, process.stderr:
        rest = process.stdout.read()
    process.wait()
    return rest
