"""Finds the one label that a model's text means."""

from __future__ import annotations

import re


def read_label(text: str, labels: list[str]) -> str | None:
    """The label that ``text`` is, else the only one it names as a word of its own; None where it names none or several.

    Case, quotes and a closing dot do not count. A label inside a longer one that is named there (``bug`` in
    ``bug report``) is not named itself.
    """
    by_fold = {label.casefold(): label for label in labels}
    if len(by_fold) < len(labels):
        by_fold = {}
    bare = text.strip().strip("\"'`*.").strip()
    if bare in labels:
        return bare
    if bare.casefold() in by_fold:
        return by_fold[bare.casefold()]
    named: set[str] = set()
    rest = text.casefold()
    for label in sorted(labels, key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(label.casefold())}(?!\w)"
        if re.search(pattern, rest):
            named.add(label)
            rest = re.sub(pattern, " ", rest)
    return named.pop() if len(named) == 1 else None
