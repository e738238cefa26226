"""Writes the CRDs where they belong: ``python -m arklex_api.crd [FOLDER…]``."""

from __future__ import annotations

import sys
from pathlib import Path

from arklex_api.crd import generate


def main(arguments: list[str]) -> None:
    """Write every CRD into the folders given, by default ``crds/`` and the chart's of the repository."""
    root = Path(__file__).resolve().parents[3]
    folders = [Path(argument) for argument in arguments] or [root / "crds", root / "helm/arklex/files/crds"]
    for name, text in generate().items():
        for folder in folders:
            (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
