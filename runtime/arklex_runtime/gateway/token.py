"""The door's bearer token: everything without it is refused, in constant time."""

from __future__ import annotations

import hmac
import time
from pathlib import Path

REREAD = 5.0
"""Seconds after which the file is read again: the Secret it is mounted from may be rotated."""


class Token:
    """The token in a file; while the file is missing or empty nobody gets in. The one before it is refused at once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._value = b""
        self._read_at = -REREAD

    def admits(self, header: str | None) -> bool:
        """Whether ``Authorization: Bearer …`` says the token."""
        scheme, _, given = (header or "").partition(" ")
        expected = self._current()
        right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), expected)
        return right and bool(expected) and scheme.lower() == "bearer"

    def _current(self) -> bytes:
        now = time.monotonic()
        if now - self._read_at >= REREAD:
            try:
                self._value = self._file.read_bytes().strip()
            except OSError:
                self._value = b""
            self._read_at = now
        return self._value
