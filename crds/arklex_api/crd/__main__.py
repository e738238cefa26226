"""Writes the CRDs beside this package: ``python -m arklex_api.crd [FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path

from arklex_api.crd import generate


def main(arguments: list[str]) -> None:
    """Write every CRD into the folder given, by default ``crds/`` of the repository."""
    folder = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[2]
    for name, text in generate().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
