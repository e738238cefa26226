"""YAML streams as kubectl reads them, with the line of every node, within bounds: no input makes this raise, hang or balloon.

What kubectl would read one way and a person mean another is refused: keys that are not strings (``on``), duplicate keys, NaN,
integers beyond int64, ``<<`` after a key it would override. PyYAML's C parser supplies events; no tag builds an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import yaml

from arklex_api.base import JSON
from arklex_api.paths import Marks, render
from arklex_api.problems import Problem
from arklex_api.scalars import ScalarError, resolve

MAX_BYTES = 8 * 2**20
MAX_NODES = 500_000
MAX_CHARACTERS = 4 * MAX_BYTES
MAX_DEPTH = 64
MAX_PROBLEMS = 100

_LOADER: type[yaml.CSafeLoader | yaml.SafeLoader] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SURROGATES = re.compile(rb"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_CORE = "tag:yaml.org,2002:"
_AS_TEXT = frozenset({"!", _CORE + "str", _CORE + "timestamp"})
_TYPED: dict[str, tuple[type, ...]] = {
    _CORE + "null": (type(None),),
    _CORE + "bool": (bool,),
    _CORE + "int": (int,),
    _CORE + "float": (int, float),
}


class Source(NamedTuple):
    """One YAML document: its value and where its nodes stand."""

    value: JSON
    marks: Marks


class _Node(NamedTuple):
    value: JSON
    marks: Marks
    height: int


@dataclass(frozen=True, slots=True)
class _Anchor:
    node: _Node
    nodes: int
    characters: int


class _Stop(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, reason: str, message: str, line: int) -> None:
        super().__init__(message)
        self.reason, self.message, self.line = reason, message, line


def read_yaml(data: bytes, file: str) -> tuple[list[Source], list[Problem]]:
    """The documents of a YAML (or JSON) stream, empty ones left out, and its problems. Never raises for bad content."""
    reader = _Reader(file)
    try:
        _check_bytes(data)
        reader.read(yaml.parse(_join_surrogates(data), Loader=_LOADER))
    except _Stop as stop:
        reader.problems.append(Problem("", stop.reason, stop.message, file, stop.line))
    except yaml.MarkedYAMLError as error:
        reader.problems.append(_syntax(error, data, file))
    except yaml.YAMLError as error:
        line = _line(data, getattr(error, "position", 0))
        reader.problems.append(Problem("", "InvalidYAML", f"not YAML: {getattr(error, 'reason', error)}", file, line))
    return reader.sources, reader.problems


def _check_bytes(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise _Stop("TooLarge", f"the file has {len(data)} bytes; at most {MAX_BYTES} are read: split it", 1)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        message = f"byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        raise _Stop("InvalidYAML", message, _line(data, error.start)) from None
    bad = _CONTROL.search(data)
    if bad is not None:
        what = "a NUL byte: this is a binary file" if bad[0] == b"\0" else f"the control character 0x{bad[0].hex()}"
        raise _Stop("InvalidYAML", f"{what}; a manifest is UTF-8 text", _line(data, bad.start()))


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _join_surrogates(data: bytes) -> bytes:
    """JSON writes characters beyond the BMP as two escapes, YAML as one."""
    if data.lstrip()[:1] not in (b"{", b"["):
        return data
    return _SURROGATES.sub(_joined, data)


def _joined(match: re.Match[bytes]) -> bytes:
    high, low = int(match[2], 16), int(match[3], 16)
    return match[1] + b"\\U%08x" % (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def _line_of(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark is not None else 1


def _syntax(error: yaml.MarkedYAMLError, data: bytes, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 1
    lines = data.split(b"\n", line)
    text = lines[line - 1] if len(lines) >= line else b""
    if b"\t" in text[: len(text) - len(text.lstrip())]:
        return Problem("", "InvalidYAML", "a tab in the indentation: YAML is indented with spaces", file, line)
    context = f" {error.context}" if error.context else ""
    hint = "; quote the whole string that holds ${…}" if b"${" in text else ""
    return Problem("", "InvalidYAML", f"not YAML:{context}{':' if context else ''} {error.problem}{hint}", file, line)


class _Reader:
    """Builds values from events, counting what aliases would expand to."""

    def __init__(self, file: str) -> None:
        self.sources: list[Source] = []
        self.problems: list[Problem] = []
        self._file = file
        self._path: list[str | int] = []
        self._anchors: dict[str, _Anchor] = {}
        self._nodes = 0
        self._characters = 0

    def read(self, events: Iterator[yaml.Event]) -> None:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                self._path = []
                node = self._node(next(events), events, 0)
                if node.value is not None:
                    self.sources.append(Source(node.value, node.marks))

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> _Node:
        line = _line_of(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, line, depth)
        self._spend(1, 0, line)
        nodes, characters = self._nodes, self._characters
        if isinstance(event, yaml.ScalarEvent):
            self._spend(0, len(event.value), line)
            node = _Node(self._scalar(event, line), (line, None), 0)
        else:
            node = self._container(event, events, depth + 1, line)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = _Anchor(node, self._nodes - nodes + 1, self._characters - characters)
        return node

    def _container(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int, line: int) -> _Node:
        if depth > MAX_DEPTH:
            raise _Stop("TooDeep", f"nested deeper than {MAX_DEPTH} levels", line)
        if isinstance(event, yaml.MappingStartEvent):
            self._check_tag(event.tag, "map", line)
            return self._mapping(events, depth, line)
        self._check_tag(getattr(event, "tag", None), "seq", line)
        return self._sequence(events, depth, line)

    def _sequence(self, events: Iterator[yaml.Event], depth: int, line: int) -> _Node:
        values: list[JSON] = []
        below: dict[str | int, Marks] = {}
        height = 0
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            index = len(values)
            self._path.append(index)
            node = self._node(event, events, depth)
            self._path.pop()
            values.append(node.value)
            below[index] = node.marks
            height = max(height, node.height)
        return _Node(values, (line, below), height + 1)

    def _mapping(self, events: Iterator[yaml.Event], depth: int, line: int) -> _Node:
        values: dict[str, JSON] = {}
        below: dict[str | int, Marks] = {}
        merged: set[str] = set()
        height = 0
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key_line = _line_of(event)
            merge = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]
            key = "<<" if merge else self._key(event, events, depth, key_line)
            self._path.append(key if key is not None else "?")
            node = self._node(next(events), events, depth)
            self._path.pop()
            height = max(height, node.height)
            if merge:
                self._merge(node, values, below, merged, key_line)
            elif key is not None:
                if key in values and key not in merged:
                    self._problem(key_line, "DuplicateKey", f"key {key!r} is given twice, first on line {below[key][0]}", key)
                    continue
                merged.discard(key)
                values[key] = node.value
                below[key] = (key_line, node.marks[1])
        return _Node(values, (line, below), height + 1)

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int, line: int) -> str | None:
        """The key, or None for one that is no string (reported)."""
        if not isinstance(event, yaml.ScalarEvent):
            self._node(event, events, depth)
            self._problem(line, "InvalidKey", "a key must be a string, not a list, a map or an alias")
            return None
        self._spend(0, len(event.value), line)
        if event.tag in _AS_TEXT or (event.tag is None and not event.implicit[0]):
            return event.value
        try:
            value = resolve(event.value) if event.tag is None else None
        except ScalarError:
            value = None
        if isinstance(value, str):
            return value
        self._problem(
            line, "InvalidKey", f'key {event.value or "(empty)"} is not a string in YAML 1.1: quote it, "{event.value}"'
        )
        return None

    def _merge(self, node: _Node, values: dict[str, JSON], below: dict[str | int, Marks], merged: set[str], line: int) -> None:
        """``<<``: earlier maps of a list win; kubectl lets it override keys before it, YAML does not, so those are refused."""
        many = isinstance(node.value, list)
        parts = node.value if many else [node.value]
        if not all(isinstance(part, dict) for part in parts):
            self._problem(line, "InvalidMerge", "<< takes an alias of a map, or a list of such")
            return
        for index, part in enumerate(parts):
            marks = (node.marks[1] or {})[index] if many else node.marks
            for key, value in part.items():
                if key in merged:
                    continue
                if key in values:
                    self._problem(line, "InvalidMerge", f"<< would override {key!r} given before it: put << first", key)
                    continue
                merged.add(key)
                values[key], below[key] = value, (marks[1] or {})[key]

    def _alias(self, event: yaml.AliasEvent, line: int, depth: int) -> _Node:
        anchor = self._anchors.get(str(event.anchor))
        if anchor is None:
            raise _Stop("InvalidYAML", f"*{event.anchor} names no anchor that is complete before it", line)
        self._spend(anchor.nodes, anchor.characters, line)
        if depth + anchor.node.height > MAX_DEPTH:
            raise _Stop("TooDeep", f"*{event.anchor} nests deeper than {MAX_DEPTH} levels", line)
        return anchor.node

    def _spend(self, nodes: int, characters: int, line: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_NODES or self._characters > MAX_CHARACTERS:
            message = f"more than {MAX_NODES} values or {MAX_CHARACTERS} characters with all aliases expanded: split the file"
            raise _Stop("TooLarge", message, line)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> JSON:
        text, tag = event.value, event.tag
        if (tag is None and not event.implicit[0]) or tag in _AS_TEXT:
            return text
        wanted = _TYPED.get(tag) if tag is not None else None
        if tag is not None and wanted is None:
            self._problem(line, "UnsupportedTag", f"tag {_short(tag)} is not supported: write plain JSON types")
            return None
        try:
            value = resolve(text)
        except ScalarError as error:
            self._problem(line, "InvalidNumber", str(error))
            return None
        if wanted is not None and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            self._problem(line, "UnsupportedTag", f"the value is no {_short(str(tag))}")
            return None
        return value

    def _check_tag(self, tag: str | None, kind: str, line: int) -> None:
        if tag not in (None, "!", _CORE + kind):
            self._problem(line, "UnsupportedTag", f"tag {_short(str(tag))} is not supported: write plain JSON types")

    def _problem(self, line: int, reason: str, message: str, *below: str) -> None:
        self.problems.append(Problem(render((*self._path, *below)), reason, message, self._file, line))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop("TooManyProblems", f"more than {MAX_PROBLEMS} problems: the rest of the file was not read", line)


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag
