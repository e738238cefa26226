"""Python's garbage collector in a process that serves: it looks less often, and never at what the process began with."""

from __future__ import annotations

import gc

YOUNG = 10_000
"""Objects made and not freed since the last look before the next one; Python's own 700 is a look every few attempts."""


def collect_seldom() -> None:
    """Call it once everything is set up: what exists now is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
