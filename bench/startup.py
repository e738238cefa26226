"""Seconds until the command line has answered, the best and the median of some: ``bench/startup.py [--times 10]``.

The target is under 0.5 s for ``--help`` and ``lint``. A process of one import and one print is the floor beside it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv/bin"
"""Where users have it: beside what it needs and nothing else."""
ARKLEX = (HOME if (HOME / "arklex").exists() else Path(sys.executable).parent) / "arklex"


def seconds(command: list[str]) -> float:
    """How long one process takes. Raises CalledProcessError if it fails."""
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=10)
    times = parser.parse_args().times
    examples = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "examples").rglob("*.yaml"))
    commands = [[sys.executable, "-c", "import asyncio; print()"], [str(ARKLEX), "--help"], [str(ARKLEX), "version"]]
    commands += [[str(ARKLEX), "lint", example] for example in examples[:1]]
    for command in commands:
        taken = [seconds(command) for _ in range(times)]
        shown = " ".join([Path(command[0]).name, *command[1:]])
        print(f"{shown:<50} best {min(taken):.2f} s, median {statistics.median(taken):.2f} s")


if __name__ == "__main__":
    main()
