"""The CEL library's compiled core, without the rest of its package.

``import cel`` also imports the package's own command line with prompt_toolkit and pygments, 0.6 s of every start; the core
alone takes milliseconds. It is loaded under its true name, so an ``import cel`` elsewhere shares it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, Protocol

_NAME = "cel.cel"


class Program(Protocol):
    """A compiled CEL expression; ``execute`` raises TypeError, KeyError, RuntimeError, ValueError, ArithmeticError …"""

    def execute(self, context: dict[str, Any]) -> Any:
        """Its value, with ``context`` as variables."""


def compiler() -> Callable[[str], Program]:
    """The library's ``compile``, which raises ValueError for what does not parse."""
    compile_program: Callable[[str], Program] = _core().compile
    return compile_program


def _core() -> ModuleType:
    loaded = sys.modules.get(_NAME)
    if loaded is not None:
        return loaded
    package = find_spec("cel")
    spec = PathFinder.find_spec(_NAME, package.submodule_search_locations) if package is not None else None
    if spec is None or spec.loader is None:
        return importlib.import_module("cel")
    module = module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)
    return module
