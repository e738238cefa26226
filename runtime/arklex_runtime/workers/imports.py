"""Imports handlers, ``package.module:callable``, from the manifest's folder, then the current one."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_HANDLER = re.compile(r"^(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)$")


class HandlerError(ValueError):
    """A handler cannot be loaded; the words say why and what to change."""


@contextmanager
def handler_path(folders: Iterable[str | Path]) -> Iterator[None]:
    """Makes ``folders`` importable, the first one first, before everything else, as ``python script.py`` does.

    Hold it as long as handlers may run, since they may import late. At its end the modules that lie in ``folders`` are
    forgotten, so that another manifest's ``handlers.py`` is not taken for this one's.
    """
    added = list(dict.fromkeys(str(Path(folder).resolve()) for folder in folders))
    before = set(sys.modules)
    sys.path[:0] = added
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)
        _forget(set(sys.modules) - before, {Path(folder) for folder in added})


def import_handler(handler: str) -> Any:
    """The object named by ``package.module:callable`` (the name may have dots). Raises HandlerError."""
    match = _HANDLER.match(handler)
    if match is None:
        raise HandlerError(f"handler {handler!r} is not written package.module:callable, e.g. handlers:greet")
    found: Any = _import(match["module"], handler)
    for part in match["name"].split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise HandlerError(
                f"handler {handler!r}: {match['module']} has no {match['name']!r}{_suggest(found, part)}"
            ) from None
    return found


def _import(module: str, handler: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
            raise HandlerError(
                f"handler {handler!r}: no module {error.name!r} beside the manifest, in the current folder or installed"
            ) from None
        raise HandlerError(f"handler {handler!r}: importing {module} needs {error.name!r}, which is not installed") from error
    except (Exception, SystemExit) as error:
        raise HandlerError(f"handler {handler!r}: importing {module} failed: {type(error).__name__}: {error}") from error


def _suggest(owner: object, wanted: str) -> str:
    close = difflib.get_close_matches(wanted, [name for name in dir(owner) if not name.startswith("_")], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _forget(names: set[str], folders: set[Path]) -> None:
    tops = {name for name in {name.partition(".")[0] for name in names} if _folder_of(sys.modules.get(name)) in folders}
    for name in names:
        if name.partition(".")[0] in tops:
            del sys.modules[name]


def _folder_of(module: ModuleType | None) -> Path | None:
    """The folder on sys.path that a top-level module was found in."""
    file = getattr(module, "__file__", None)
    if file is None:
        return next((Path(path).resolve().parent for path in getattr(module, "__path__", [])), None)
    path = Path(file).resolve()
    return path.parent.parent if path.name == "__init__.py" else path.parent
