"""Finds the one label that a model's text means."""

from __future__ import annotations

import re


def read_label(text: str, labels: list[str]) -> str | None:
    """The label that ``text`` is, else the only one it names as a word of its own; None where it names none or several.

    Quotes and a closing dot do not count, nor does case, unless labels differ in nothing else. A label inside a longer one
    that is named there (``bug`` in ``bug report``) is not named itself.
    """
    cased = len({label.casefold() for label in labels}) < len(labels)
    names = {label if cased else label.casefold(): label for label in labels}
    rest = text if cased else text.casefold()
    bare = rest.strip().strip("\"'`*.").strip()
    if bare in names:
        return names[bare]
    named: set[str] = set()
    for name in sorted(names, key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(name)}(?!\w)"
        if re.search(pattern, rest):
            named.add(names[name])
            rest = re.sub(pattern, " ", rest)
    return named.pop() if len(named) == 1 else None
