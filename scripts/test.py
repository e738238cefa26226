"""Run the blocks of ``make test`` and end with a table of them: ``scripts/test.py [BLOCK…]``, all of them by default.

What the cluster tests run on is built beside the blocks before it. What a machine cannot run (a cluster, or tests that mount
disks) is left out, and the table says why and how to run it; with ``CI=true`` in the environment that is a failure.

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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTHON = BIN / "python"
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile")
PYTEST_CLOSING = re.compile(r"^=+ (.*\b(?:passed|failed|errors?|skipped|no tests ran)\b.*) =+$")
BROKEN_PROMISE = re.compile(r"^E\s.*\bI(?:1[0-3]|[1-9]) ")
"""A failure that names an invariant (docs/design.md, reliability): no second try excuses it."""
NEEDS_A_SERVER = "apiserver or postgresql or redis or model or mounts"
BED = (BIN / "python", "-m", "tests.cluster.bed")


class BlockFailed(Exception):
    """A command of the block failed or outlived the block's ceiling; the words say which."""


class LeftOut(Exception):
    """This machine cannot run the block; the words say why, and how it can be run."""


class Shell:
    """Runs commands until a deadline (of time.monotonic), passing on what they print."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.closing: list[str] = []
        """The closing lines of the pytest runs so far."""
        self._broken = False

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
            self._broken = self._broken or bool(BROKEN_PROMISE.match(line))

    def against_servers(self, *command: str | Path) -> None:
        """Run tests of real servers and processes. Those that fail get one more try, with the machine to themselves.

        The table shows both tries. An invariant that was broken is final. Raises BlockFailed.
        """
        try:
            self.run(*command)
        except BlockFailed as failure:
            if self._broken or "ceiling" in str(failure):
                raise
            print(f"{failure}\nonce more, only what failed:", flush=True)
            alone = [word for word in command if word not in SIDE_BY_SIDE]
            self.run(*alone, "--last-failed", "--last-failed-no-failures=none")

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
    shell.python("-m", "pytest", "tests/unit", "tests/property", *SIDE_BY_SIDE, "-m", f"not ({NEEDS_A_SERVER})")


def bed(shell: Shell) -> None:
    """The programs of a Kubernetes, built from their Go modules unless they are there."""
    if reason := refusal("programs"):
        raise LeftOut(reason)
    shell.run(*BED, "build")


def integration(shell: Shell) -> None:
    """Real databases, servers, processes and the model; the API server too, where it could be built."""
    lacking = refusal("programs")
    folders = ("tests/integration", *(() if lacking else ("tests/apiserver",)))
    shell.against_servers(PYTHON, "-m", "pytest", *folders, *SIDE_BY_SIDE, *(["-m", "not apiserver"] if lacking else []))
    if lacking:
        raise LeftOut(f"the tests marked apiserver: {lacking}")


def chart(shell: Shell) -> None:
    """The chart, rendered by helm and before a real API server."""
    if reason := refusal("programs"):
        raise LeftOut(reason)
    shell.against_servers(PYTHON, "-m", "pytest", "tests/helm")


def cluster(shell: Shell) -> None:
    """Everything on a real cluster: the bed, or the one that ARKLEX_TEST_KUBECONFIG names."""
    if not os.environ.get("ARKLEX_TEST_KUBECONFIG") and (reason := refusal()):
        how = "make cluster-test, as root on Linux, or on a cluster of yours (docs/test-bed.md, Another cluster)"
        raise LeftOut(f"{reason}; to run it: {how}")
    shell.against_servers(PYTHON, "-m", "tests.cluster", "tests/cluster")


def refusal(*what: str) -> str:
    """Return why there can be no bed on this machine (or no ``programs`` of it), empty if there can."""
    asked = subprocess.run([*BED, "check", *what], cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if asked.returncode == 0 else "; ".join((asked.stdout + asked.stderr).splitlines())


def faults(shell: Shell) -> None:
    """Processes killed, files corrupted, disks filled; the last where disks can be mounted."""
    mountable = mounts()
    shell.against_servers(PYTHON, "-m", "pytest", "tests/faults", *([] if mountable else ["-m", "not mounts"]))
    if not mountable:
        raise LeftOut("the tests that mount disks, which needs root; to run them: make test-faults, as root on Linux")


def mounts() -> bool:
    """Return whether this process may mount file systems."""
    try:
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


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
    "lint": Block(lint, 600),
    "fast": Block(fast, 600),
    "faults": Block(faults, 1500),
    "demo": Block(demo, 120),
    "wheel": Block(wheel, 120),
    "bed": Block(bed, 1200),
    "integration": Block(integration, 2100),
    "chart": Block(chart, 600),
    "cluster": Block(cluster, 2700),
}


@dataclass(slots=True)
class Row:
    """What became of a block; ``seconds`` is wall-clock time."""

    name: str
    seconds: float = 0.0
    failure: str = ""
    left_out: str = ""
    closing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        words = self.failure or "; ".join([*self.closing, *([f"left out: {self.left_out}"] if self.left_out else [])])
        verdict = "FAILED" if self.failure else "ok" if self.closing or not self.left_out else "-"
        return f"{self.name:<12}{verdict:<8}{self.seconds:>7.1f} s  {words}".rstrip()


@contextlib.contextmanager
def building_bed() -> Iterator[None]:
    """Build the bed's programs beside other blocks; its own block waits for the end of that, and says if it failed."""
    builder = subprocess.Popen(
        [*BED, "build"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(builder.pid, signal.SIGKILL)
        builder.wait()


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
    except LeftOut as reason:
        print(f"left out: {reason}", flush=True)
        if os.environ.get("CI") == "true":
            row.failure = f"left out, which CI must not: {reason}"
        else:
            row.left_out = str(reason)
    row.seconds, row.closing = time.monotonic() - started, shell.closing
    return row


def main(names: list[str]) -> int:
    """Run the blocks named, in the order given."""
    if unknown := [name for name in names if name not in BLOCKS]:
        print(f"no such block: {', '.join(unknown)}; there are {', '.join(BLOCKS)}", file=sys.stderr)
        return 2
    names = names or list(BLOCKS)
    with building_bed() if "bed" in names[1:] else contextlib.nullcontext():
        rows = [run(name) for name in names]
    total = sum(row.seconds for row in rows)
    print("\n" + "\n".join(str(row) for row in rows) + f"\n{'together':<20}{total:>7.1f} s", flush=True)
    return int(any(row.failure for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
