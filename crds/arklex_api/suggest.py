"""“Did you mean”: the nearest of some names, at bounded cost."""

from __future__ import annotations

import difflib
from collections.abc import Collection

BUDGET = 20_000
"""Comparisons that one Suggester makes, about a tenth of a second; after that it has no suggestions."""


class Suggester:
    """Finds what a person may have meant. One for each reading of a file: ten thousand typos must not take an hour."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._left = budget

    def near(self, name: str, names: Collection[str]) -> str | None:
        """The one of ``names`` most like ``name``, if any is alike."""
        if len(names) > self._left or len(name) > 100:
            return None
        self._left -= len(names)
        return next(iter(difflib.get_close_matches(name, names, 1)), None)

    def hint(self, name: str, names: Collection[str]) -> str:
        """``: did you mean 'x'?``, or nothing."""
        found = self.near(name, names)
        return f": did you mean '{found}'?" if found is not None else ""
