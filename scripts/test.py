"""Run the blocks of ``make test`` and end with a table of them: ``scripts/test.py [BLOCK…]``, all of them by default.

Each block's output is passed on as it comes. A block that outlives its ceiling is stopped and has failed: that catches a hang,
it judges no speed. Later blocks run all the same. Exit code 1 if any failed, 2 for a block that does not exist.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTEST_CLOSING = re.compile(r"^=+ (.*\b(?:passed|failed|errors?|skipped|no tests ran)\b.*) =+$")
NEEDS_A_SERVER = "postgresql or redis or model or mounts"


class BlockFailed(Exception):
    """A command of the block failed or outlived the block's ceiling; the words say which."""


class Shell:
    """Runs commands until a deadline (of time.monotonic), passing on what they print."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.closing: list[str] = []
        """The closing lines of the pytest runs so far."""

    def run(self, *command: str | Path, cwd: Path = ROOT) -> None:
        """Raises BlockFailed unless the command exits with 0 before the deadline."""
        words = [str(word) for word in command]
        shown = " ".join(word.removeprefix(f"{BIN}/") for word in words)
        print(f"$ {shown}", flush=True)
        process = subprocess.Popen(
            words,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        reader = threading.Thread(target=self._pass_on, args=(process.stdout or (),), daemon=True)
        reader.start()
        try:
            code = process.wait(self._deadline - time.monotonic())
        except subprocess.TimeoutExpired:
            raise BlockFailed(f"stopped at the ceiling: {shown}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):  # also what the command left behind
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reader.join(timeout=5)
        if code != 0:
            raise BlockFailed(f"exit code {code}: {shown}")

    def _pass_on(self, output: Iterable[str]) -> None:
        for line in output:
            print(line, end="", flush=True)
            if found := PYTEST_CLOSING.match(line):
                self.closing.append(found[1])

    def each(self, *commands: tuple[str | Path, ...]) -> None:
        """Run all commands; raises BlockFailed at the end if one or more failed."""
        failures = []
        for command in commands:
            try:
                self.run(*command)
            except BlockFailed as failure:
                failures.append(str(failure))
        if failures:
            raise BlockFailed("; ".join(failures))

    def python(self, *arguments: str | Path) -> None:
        """Run this environment's interpreter."""
        self.run(BIN / "python", *arguments)


def lint(shell: Shell) -> None:
    """Style, types and layers, each whatever the others say."""
    shell.each(
        (BIN / "ruff", "check", "."),
        (BIN / "ruff", "format", "--check", "."),
        (BIN / "python", "-m", "mypy"),
        (BIN / "lint-imports", "--no-logo", "--cache-dir", ".cache/import-linter"),
    )


def fast(shell: Shell) -> None:
    """What needs neither a server nor a model."""
    shell.python("-m", "pytest", "tests/unit", "tests/property", "-m", f"not ({NEEDS_A_SERVER})")


def integration(shell: Shell) -> None:
    """Real databases, servers, processes and the model."""
    shell.python("-m", "pytest", "tests/integration")


def faults(shell: Shell) -> None:
    """Processes killed, files corrupted, disks filled."""
    shell.python("-m", "pytest", "tests/faults")


def demo(shell: Shell) -> None:
    """What a newcomer runs first."""
    shell.run("make", "--no-print-directory", "demo")


def wheel(shell: Shell) -> None:
    """What is committed, built, installed beside nothing but its base dependencies, and run."""
    with tempfile.TemporaryDirectory(prefix="arklex-wheel-") as name:
        folder = Path(name)
        clone, venv = folder / "clone", folder / "venv"
        shell.run("git", "clone", "--quiet", ROOT, clone)
        shell.run(BIN / "python", "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=clone)
        shell.run(BIN / "uv", "venv", "--quiet", venv)
        install = (BIN / "uv", "pip", "install", "--quiet", "--python", venv, "--no-deps")
        shell.run(*install, "--require-hashes", "--requirement", clone / "requirements/base.txt")
        shell.run(*install, *folder.glob("*.whl"))
        shell.run(venv / "bin/python", clone / "scripts/smoke.py", clone / "examples", cwd=folder)


@dataclass(frozen=True, slots=True)
class Block:
    """One row of the table: what runs, and the seconds after which it counts as hung."""

    steps: Callable[[Shell], None]
    ceiling: float


BLOCKS = {
    "lint": Block(lint, 180),
    "fast": Block(fast, 180),
    "integration": Block(integration, 300),
    "faults": Block(faults, 300),
    "demo": Block(demo, 120),
    "wheel": Block(wheel, 60),
}


@dataclass(slots=True)
class Row:
    """What became of a block; ``seconds`` is wall-clock time."""

    name: str
    seconds: float = 0.0
    failure: str = ""
    closing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        words = self.failure or ", ".join(self.closing)
        return f"{self.name:<12}{'FAILED' if self.failure else 'ok':<8}{self.seconds:>7.1f} s  {words}".rstrip()


def run(name: str) -> Row:
    """Run one block to its end."""
    print(f"\n── {name} ──", flush=True)
    started = time.monotonic()
    row, shell = Row(name), Shell(started + BLOCKS[name].ceiling)
    try:
        BLOCKS[name].steps(shell)
    except BlockFailed as failure:
        row.failure = str(failure)
        print(row.failure, flush=True)
    row.seconds, row.closing = time.monotonic() - started, shell.closing
    return row


def main(names: list[str]) -> int:
    """Run the blocks named, in the order given."""
    if unknown := [name for name in names if name not in BLOCKS]:
        print(f"no such block: {', '.join(unknown)}; there are {', '.join(BLOCKS)}", file=sys.stderr)
        return 2
    rows = [run(name) for name in names or BLOCKS]
    total = sum(row.seconds for row in rows)
    print("\n" + "\n".join(str(row) for row in rows) + f"\n{'together':<20}{total:>7.1f} s", flush=True)
    return int(any(row.failure for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
