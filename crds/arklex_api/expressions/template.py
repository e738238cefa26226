"""Templates: any JSON whose strings may hold ``${…}`` (semantics.md, "Expressions")."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from arklex_api.base import JSON
from arklex_api.expressions.budget import BUDGET, MAX_STEPS, Budget, longest, too_costly
from arklex_api.expressions.compile import Code, compile_tree
from arklex_api.expressions.errors import REASON, ExpressionError, SyntaxProblem, TemplateError
from arklex_api.expressions.parser import parse
from arklex_api.expressions.paths import Run, Scope, compile_path
from arklex_api.expressions.references import Reference, check_hyphens, find_references
from arklex_api.expressions.scanner import Source, split
from arklex_api.expressions.values import check_result
from arklex_api.jsonvalue import MAX_DEPTH
from arklex_api.problems import Problem

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template.

    ``references``: what it reads. ``constant``: it reads nothing. ``evaluate(scope)`` gives its value, or raises
    ExpressionError; ``scope`` is a dict of the variables, of which it reads those in ``references``. The value may share
    lists and maps with the scope and with the template: whoever hands it to code that may change it copies it first.
    """

    references: frozenset[Reference]
    constant: bool
    evaluate: Callable[[Mapping[str, JSON]], JSON]


def compile_template(value: JSON, *, path: str, roots: Collection[str]) -> Template:
    """Compiles JSON with ``${…}`` in its strings; ``path`` is the field it stands in, ``roots`` the variables in scope.

    Raises TemplateError with every problem in it.
    """
    return _Builder(roots).build(value, path)


def compile_expression(text: str, *, path: str, roots: Collection[str]) -> Template:
    """Compiles a string that must be exactly one ``${…}`` (``when``, ``forEach.items``). Raises TemplateError."""
    try:
        pieces = split(text) if isinstance(text, str) else []
    except SyntaxProblem as problem:
        raise TemplateError([_problem(path, problem)]) from None
    if len(pieces) != 1 or not isinstance(pieces[0], Source):
        raise TemplateError([Problem(path, REASON, "must be one ${…} with nothing around it")])
    return _Builder(roots).build(text, path)


def _problem(path: str, problem: SyntaxProblem, source: Source | None = None) -> Problem:
    message = str(problem)
    if source is not None:
        where = f" at character {problem.position + 1}" if problem.position is not None else ""
        message = f"{message} (in ${{{_short(source.text)}}}{where})"
    return Problem(path, REASON, message)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


class _Builder:
    def __init__(self, roots: Collection[str]) -> None:
        self._roots = roots
        self._references: set[Reference] = set()
        self._problems: list[Problem] = []

    def build(self, value: JSON, path: str) -> Template:
        run = self._value(value, path, 0)
        if self._problems:
            raise TemplateError(self._problems)
        return Template(frozenset(self._references), not self._references, run or _constant(value))

    def _value(self, value: JSON, path: str, depth: int) -> Run | None:
        """The closure for ``value``, None if it is itself."""
        if depth > MAX_DEPTH:
            self._problems.append(Problem(path, REASON, f"is nested more than {MAX_DEPTH} deep"))
            return None
        if isinstance(value, str):
            return self._text(value, path) if "${" in value else None
        if isinstance(value, list):
            return _list_run(value, [self._value(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(value)])
        if isinstance(value, dict):
            return _map_run(value, [self._value(item, _below(path, key), depth + 1) for key, item in value.items()])
        return None

    def _text(self, text: str, path: str) -> Run | None:
        try:
            pieces = split(text)
        except SyntaxProblem as problem:
            self._problems.append(_problem(path, problem))
            return None
        runs = [piece if isinstance(piece, str) else self._expression(piece, path) for piece in pieces]
        if len(runs) == 1:
            return _constant(runs[0]) if isinstance(runs[0], str) else runs[0]
        return _join_run(runs)

    def _expression(self, source: Source, path: str) -> Run:
        try:
            check_hyphens(source.text)
            node = parse(source.text)
            references = find_references(node, self._roots)
            code = compile_tree(node, source.text, self._roots)
        except SyntaxProblem as problem:
            self._problems.append(_problem(path, problem, source))
            return _constant(None)
        self._references |= references
        return _guarded(code, source.text.strip(), references)


def _below(path: str, key: str) -> str:
    if not _PLAIN_KEY.match(key):
        return f"{path}[{key!r}]"
    return f"{path}.{key}" if path else key


def _constant(value: JSON) -> Run:
    return lambda scope: value


def _guarded(code: Code, text: str, references: frozenset[Reference]) -> Run:
    """Adds what the whole expression needs: a budget if it has macros, and the check that its result is JSON."""
    if code.path:
        return code.run
    run = _budgeted(code.run, code.macros, references) if code.macros else code.run
    shown = _short(text)

    def evaluate(scope: Scope) -> JSON:
        try:
            value = run(scope)
            return value if code.json else check_result(value, shown)
        except ExpressionError:
            raise
        except Exception as error:  # whatever data may do to a function: one task fails, not the engine
            raise ExpressionError(f"{shown}: {type(error).__name__}: {error}") from error

    return evaluate


def _budgeted(run: Run, depth: int, references: frozenset[Reference]) -> Run:
    reads = [compile_path(reference.root, reference.path) for reference in references if not reference.has]

    def evaluate(scope: Scope) -> Any:
        _check_cost(scope, reads, depth)
        return run({**scope, BUDGET: Budget()})

    return evaluate


def _check_cost(scope: Scope, reads: list[Run], depth: int) -> None:
    length = 0
    for read in reads:
        try:
            length = max(length, longest(read(scope)))
        except ExpressionError:
            continue
    if length**depth > MAX_STEPS:
        raise too_costly(f"macros nest {depth} deep over a list or map of {length:,}, at most {MAX_STEPS:,} steps")


def _list_run(value: list[JSON], runs: list[Run | None]) -> Run | None:
    if all(run is None for run in runs):
        return None
    items = [run or _constant(item) for run, item in zip(runs, value, strict=True)]
    return lambda scope: [item(scope) for item in items]


def _map_run(value: dict[str, JSON], runs: list[Run | None]) -> Run | None:
    if all(run is None for run in runs):
        return None
    constants = {key: item for (key, item), run in zip(value.items(), runs, strict=True)}
    dynamic = [(key, run) for key, run in zip(value, runs, strict=True) if run is not None]

    def evaluate(scope: Scope) -> dict[str, JSON]:
        result = constants.copy()
        for key, run in dynamic:
            result[key] = run(scope)
        return result

    return evaluate


def _join_run(pieces: list[str | Run]) -> Run:
    def evaluate(scope: Scope) -> str:
        return "".join([piece if isinstance(piece, str) else to_text(piece(scope)) for piece in pieces])

    return evaluate


def to_text(value: JSON) -> str:
    """How a value appears inside text: a string as it is, all else as compact JSON."""
    if type(value) is str:
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
