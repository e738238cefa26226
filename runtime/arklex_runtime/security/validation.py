"""The guide's InputValidator: queries and files, before anything else sees them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from arklex_runtime.errors import ValidationError

MAX_QUERY_LENGTH = 10_000
MAX_FILE_SIZE = 10_485_760

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SCRIPTS = (
    re.compile(r"<script\b[^<>]*>\s*[^\s<][^<]*</script", re.IGNORECASE),
    re.compile(r"<script\b[^<>]*\bsrc\s*=", re.IGNORECASE),
    re.compile(r"<(?:img|svg|iframe|body|object|embed|video|audio|details)\b[^<>]*\son[a-z]{3,}\s*=", re.IGNORECASE),
    re.compile(r"""(?:href|src|action)\s*=\s*(?:["']\s*)?(?:javascript|vbscript)\s*:""", re.IGNORECASE),
    re.compile(r"""(?:href|src)\s*=\s*(?:["']\s*)?data:text/html""", re.IGNORECASE),
)
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_TAGS = range(0xE0000, 0xE0080)


class UploadedFile(Protocol):
    """What is looked at of a file: its name, and its size in bytes."""

    @property
    def name(self) -> str:
        """The name that the client gave."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...


class InputValidator:
    """Refuses queries and files that are empty, too large, of a wrong type or carry what only attacks carry.

    ``config``: ``max_query_length`` (characters, 10,000), ``allowed_file_types`` (extensions, none by default) and
    ``max_file_size`` (bytes, 10,485,760).
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        config = config or {}
        self.max_query_length: int = config.get("max_query_length", MAX_QUERY_LENGTH)
        types: Collection[str] = config.get("allowed_file_types", ())
        self.allowed_file_types = frozenset(kind.lower().lstrip(".") for kind in types)
        self.max_file_size: int = config.get("max_file_size", MAX_FILE_SIZE)

    def validate_query(self, query: str) -> str:
        """``query`` without surrounding space. Raises ValidationError."""
        if not isinstance(query, str):
            raise ValidationError(f"Query must be text, not {type(query).__name__}")
        if len(query) > self.max_query_length:
            raise ValidationError(f"Query too long (max {self.max_query_length} characters)")
        stripped = query.strip()
        if not stripped:
            raise ValidationError("Query cannot be empty")
        if self.contains_malicious_content(query):
            raise ValidationError("Query contains potentially malicious content")
        return stripped

    def validate_file(self, file: UploadedFile) -> bool:
        """True for a file of an allowed type and size, whose name is a plain one. Raises ValidationError."""
        name = file.name
        if not name or "/" in name or "\\" in name or name in (".", "..") or _CONTROL.search(name) or _hidden(name):
            raise ValidationError("File name is not a plain name")
        if file.size < 0 or file.size > self.max_file_size:
            raise ValidationError(f"File too large (max {self.max_file_size} bytes)")
        stem, dot, extension = name.rpartition(".")
        if not dot or not stem or extension.lower() not in self.allowed_file_types:
            raise ValidationError(f"File type not allowed: {extension.lower() if dot and stem else 'none'}")
        return True

    def contains_malicious_content(self, text: str) -> bool:
        """Whether ``text`` holds what no person types and only attacks need.

        That is: NUL and other control characters (but tab and line ends), lone surrogates, overrides of the writing direction
        and invisible tag characters (both hide text from a reader, not from a model), a script element with content or a
        source, event handlers in HTML elements, ``javascript:`` links. Words about SQL, HTML or shells pass: an injection
        is prevented where a value is used (bound parameters, encoding), not by words. Prompt injection is not looked for
        either: no list of words finds it.
        """
        if _CONTROL.search(text) or _hidden(text):
            return True
        folded = unicodedata.normalize("NFKC", text)
        return "<" in folded and any(pattern.search(folded) for pattern in _SCRIPTS)


def _hidden(text: str) -> bool:
    if text.isascii():
        return False
    return any(char in _DIRECTION or ord(char) in _TAGS or "\ud800" <= char <= "\udfff" for char in text)
