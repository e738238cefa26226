"""Kubernetes-style field paths (``spec.tasks[0].with[a.b]``) and the lines they stand on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

Steps: TypeAlias = tuple[str | int, ...]
Marks: TypeAlias = "tuple[int, dict[str | int, Marks] | None]"
"""The line (from 1) of a node, and the marks of what it holds by key or index; a key's mark is the key's own line."""

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*\Z")
_STEP = re.compile(r"\[([^\[\]]*)\]|([^.\[\]]+)")


def render(steps: Iterable[str | int]) -> str:
    """``("spec", "tasks", 0, "value")`` as ``spec.tasks[0].value``; a key that is no plain word goes in brackets."""
    out = ""
    for step in steps:
        if isinstance(step, str) and _PLAIN.match(step):
            out += f".{step}" if out else step
        else:
            out += f"[{step}]"
    return out


def parse(path: str) -> Steps:
    """The inverse of ``render`` for locating: a bracketed number is an index."""
    return tuple(_step(inner, word) for inner, word in _STEP.findall(path))


def _step(inner: str, word: str) -> str | int:
    return word or (int(inner) if inner.isascii() and inner.isdigit() and len(inner) < 10 else inner)


def line_of(marks: Marks, steps: Steps) -> int:
    """The line of the node at ``steps``, or of the nearest one above it that exists."""
    for step in steps:
        below = marks[1]
        found = below.get(step) if below is not None else None
        if found is None and below is not None:
            found = below.get(str(step))
        if found is None:
            break
        marks = found
    return marks[0]
