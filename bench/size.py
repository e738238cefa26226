"""What a large graph costs beside one a tenth its size: seconds per task and peak memory, each in a process of its own.

``bench/size.py [--sizes 1000,10000]``. The targets: time per task within 1.5 times, and memory below 200 MiB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def measure(shape: str, folder: str) -> dict[str, float]:
    """One shape in a process of its own. Raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "bench.peers.arklex", "--shapes", shape, "--seconds", "30", "--folder", folder]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def main() -> None:
    """Print a line for each kind and size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=lambda text: [int(word) for word in text.split(",")], default=[1000, 10_000])
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache/bench")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print("| graph | seconds | ms a task | ratio | to compile, s | peak MiB |\n|---|--:|--:|--:|--:|--:|")
    for kind in ("wide", "deep", "dag"):
        first = 0.0
        for size in options.sizes:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                found = measure(f"{kind}{size}", folder)
            each = found["seconds"] / size * 1e3
            first = first or each
            row = (f"{kind}{size}", f"{found['seconds']:.2f}", f"{each:.3f}", f"{each / first:.2f}")
            print(f"| {' | '.join(row)} | {found['prepare_s']:.2f} | {found['peak_mib']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
