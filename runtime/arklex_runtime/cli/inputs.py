"""What a command is given, read and checked: files, JSON arguments, the database."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arklex_api.base import JSON
from arklex_runtime.cli.failures import Refused

if TYPE_CHECKING:
    from arklex_api.loader import Manifests


def read_manifests(files: Sequence[str]) -> Manifests:
    """The manifests of ``files``, with all their problems, lint's included, in ``problems``."""
    from arklex_api.lint import lint
    from arklex_api.loader import load_files, load_text

    manifests = load_text(sys.stdin.buffer.read(), "-") if list(files) == ["-"] else load_files(files)
    manifests.problems = lint(manifests)
    return manifests


def accepted_manifests(files: Sequence[str]) -> Manifests:
    """The manifests of ``files``. Raises Refused with every problem."""
    manifests = read_manifests(files)
    if manifests.problems:
        raise Refused(manifests.problems)
    return manifests


def choose_graph(manifests: Manifests, name: str | None) -> str:
    """The graph that is meant. Raises Refused if there is none of that name, or several and no name."""
    names = list(manifests.graphs)
    if name is not None:
        if name not in names:
            known = ", ".join(names) or "none"
            raise Refused.of("--graph", "UnknownGraph", f"there is no TaskGraph '{name}' (there is: {known})")
        return name
    if len(names) != 1:
        said = f"{len(names)} TaskGraphs: say which with --graph {'|'.join(names)}" if names else "no TaskGraph in these files"
        raise Refused.of("--graph", "WhichGraph", said)
    return names[0]


def handler_folders(files: Sequence[str], more: Sequence[str] | None = None) -> list[Path]:
    """Where handlers are imported from: the manifests' folders, then ``more``, then the current one."""
    places = [Path(file) for file in files if file != "-"]
    folders = [place if place.is_dir() else place.parent for place in places]
    return list(dict.fromkeys(folder.resolve() for folder in (*folders, *(Path(each) for each in more or ()), Path())))


def read_json(text: str | None, option: str) -> JSON:
    """The JSON that ``text`` is or, as ``@FILE`` (``@-``: stdin), that the file holds. Raises Refused naming ``option``."""
    if text is None:
        return None
    body = _read(text[1:], option) if text.startswith("@") else text
    try:
        value = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_unique)
        _check(value)
    except (ValueError, RecursionError) as error:
        message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        hint = "" if text.startswith("@") else f": {text if len(text) < 60 else text[:57] + '…'}"
        raise Refused.of(option, "InvalidJSON", f"is not JSON: {message}{hint}") from None
    return value


def _read(name: str, option: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode()
    except OSError as error:
        raise Refused.of(option, "Unreadable", f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Refused.of(option, "Unreadable", f"{name} is not UTF-8 text") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _check(value: JSON) -> None:
    from arklex_api.jsonvalue import check_json

    check_json(value)


def read_map(text: str | None, option: str) -> dict[str, JSON] | None:
    """A JSON object. Raises Refused."""
    value = read_json(text, option)
    if value is not None and not isinstance(value, dict):
        raise Refused.of(option, "InvalidJSON", "must be a JSON object")
    return value


def database(url: str | None) -> str:
    """``url``, or the default of all commands: ``$XDG_STATE_HOME/arklex/arklex.db``."""
    if url:
        return url
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return str(folder / "arklex" / "arklex.db")


def command(*words: str, db: str | None) -> str:
    """A command line that a person can paste, on the same database."""
    import shlex

    return shlex.join(["arklex", *words, *(["--db", db] if db else [])])
