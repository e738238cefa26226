"""Keeps secrets out of what is stored and shown: removes them by value (semantics.md, "Runs, durability, ownership")."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from arklex_api.base import JSON

MASK = "***"
MIN_LENGTH = 4
"""Shorter values are left alone: masking every ``on`` or ``1`` would destroy documents and protect nothing."""


class Redactor:
    """Replaces secret values in text, bytes and JSON by ``***``; does nothing, cheaply, where there are none.

    Finds a value as it is, as JSON escapes it (both ways of writing non-ASCII), as a URL encodes it, and as the base64 of
    the value alone. The longest value wins where one holds another. Documents are for ``json``: encoded ones (``text``,
    ``bytes``) may be no JSON any more where a secret is also a number or part of an escape. Numbers are left alone.
    """

    __slots__ = ("_bytes", "_text")

    def __init__(self, values: Iterable[str] = ()) -> None:
        """``values`` with and without surrounding space; those under four characters are skipped."""
        forms = {form for value in values for given in {value, value.strip()} for form in _forms(given)}
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._text = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        encoded = [re.escape(form.encode("utf-8", "surrogatepass")) for form in ordered]
        self._bytes = re.compile(b"|".join(encoded)) if encoded else None

    def __bool__(self) -> bool:
        return self._text is not None

    def text(self, value: str) -> str:
        """``value`` without secrets."""
        return self._text.sub(MASK, value) if self._text is not None else value

    def bytes(self, value: bytes) -> bytes:
        """``value`` (UTF-8, e.g. JSON) without secrets."""
        return self._bytes.sub(MASK.encode(), value) if self._bytes is not None else value

    def json(self, value: JSON) -> JSON:
        """``value`` without secrets, in keys too; the very object where it holds none."""
        if self._text is None:
            return value
        return self._walk(value)

    def _walk(self, value: JSON) -> JSON:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            made: JSON = {self.text(key): self._walk(each) for key, each in value.items()}
        elif isinstance(value, list):
            made = [self._walk(each) for each in value]
        else:
            return value
        return value if made == value else made


def _forms(value: str) -> set[str]:
    if len(value) < MIN_LENGTH:
        return set()
    raw = value.encode("utf-8", "surrogatepass")
    escaped = {json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    return {value, *escaped, quote(raw, safe=""), quote(raw), quote_plus(raw), base64.b64encode(raw).decode()}
