"""The command ``arklex`` in processes of its own, on a database of the test's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds after which something that should have happened will not."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def fails(self, code: int) -> Done:
        assert self.code == code, f"exit {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err
        assert "InternalError" not in self.out + self.err
        return self

    def works(self) -> Done:
        return self.fails(0)

    @property
    def reasons(self) -> list[str]:
        return [error["reason"] for error in self.json["errors"]]


class Arklex:
    """Runs commands in ``folder``; the default database lies below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("ARKLEX", "OPENAI"))}
        self.env |= {"PYTHONPATH": os.pathsep.join(sys.path), "XDG_STATE_HOME": str(folder / "state"), "NO_COLOR": "1"}

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "arklex_runtime.cli", *map(str, arguments)]

    def __call__(self, *arguments: str | Path, stdin: str = "", cwd: Path | None = None, **options: Any) -> Done:
        found = subprocess.run(
            self.command(*arguments),
            cwd=cwd or self.folder,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )
        return Done(found.returncode, found.stdout, found.stderr)

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        environment: Mapping[str, str] = self.env
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
            **options,
        )

    def only_run(self) -> str:
        (row,) = self("runs", "--output", "json").works().json
        return str(row["run"])

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


def ended(process: subprocess.Popen[str]) -> Done:
    """Wait for a started command."""
    out, err = process.communicate(timeout=PATIENCE)
    return Done(process.returncode, out, err)


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of ``condition``; fails after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")
