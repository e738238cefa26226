"""Which variables and fields an expression reads, and what can be wrong with that before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from arklex_api.expressions.errors import SyntaxProblem
from arklex_api.expressions.nodes import Ident, Index, Literal, Macro, Node, Select, children
from arklex_api.expressions.paths import render
from arklex_api.expressions.tokens import Token, tokenize
from arklex_api.expressions.values import TYPE_NAMES

TASK_FIELDS = ("phase", "output", "error", "errors")


@dataclass(frozen=True, slots=True)
class Reference:
    """A read of a variable: ``tasks.a.output.x[0]`` is ``Reference("tasks", ("a", "output", "x", 0), False)``.

    ``path`` is the longest prefix known without evaluating; ``has`` if it is only tested, as in ``has(tasks.a.output)``.
    """

    root: str
    path: tuple[str | int, ...]
    has: bool


def static_path(node: Node) -> tuple[str, tuple[str | int, ...]] | None:
    """The variable and path that ``node`` reads, if it is nothing else; of a ``has()``, None."""
    match node:
        case Ident(name=name):
            return name, ()
        case Select(operand=operand, field=field, test=False):
            return _extended(operand, field)
        case Index(operand=operand, index=Literal(value=value)) if type(value) in (str, int):
            return _extended(operand, value)
    return None


def _extended(operand: Node, part: str | int) -> tuple[str, tuple[str | int, ...]] | None:
    prefix = static_path(operand)
    return None if prefix is None else (prefix[0], (*prefix[1], part))


def find_references(node: Node, roots: Collection[str]) -> frozenset[Reference]:
    """Every reference in the tree. Raises SyntaxProblem for one that cannot be meant."""
    return frozenset(_walk(node, roots, frozenset()))


def _walk(node: Node, roots: Collection[str], bound: frozenset[str]) -> Iterator[Reference]:
    if isinstance(node, Select) and node.test and (found := _extended(node.operand, node.field)) is not None:
        yield from _reference(node, found, True, roots, bound)
    elif (found := static_path(node)) is not None:
        yield from _reference(node, found, False, roots, bound)
    elif isinstance(node, Macro):
        yield from _walk(node.target, roots, bound)
        inner = bound | {node.variable}
        for part in children(node)[1:]:
            yield from _walk(part, roots, inner)
    else:
        for part in children(node):
            yield from _walk(part, roots, bound)


def _reference(
    node: Node, found: tuple[str, tuple[str | int, ...]], has: bool, roots: Collection[str], bound: frozenset[str]
) -> Iterator[Reference]:
    root, path = found
    if root in bound:
        return
    if root not in roots:
        if root in TYPE_NAMES and not path:
            return
        raise SyntaxProblem(_unknown(root, [*roots, *bound]), node.start)
    for part in path:
        if isinstance(part, int) and part < 0:
            raise SyntaxProblem(f"index {part}: lists count from 0; the last item is x[size(x) - 1]", node.start)
    if root == "tasks":
        _check_task(path, node.start)
    yield Reference(root, path, has)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown variable '{name}'{hint}; in scope: {', '.join(sorted(known)) or 'none'}"


def _check_task(path: tuple[str | int, ...], position: int) -> None:
    if not path:
        raise SyntaxProblem("'tasks' needs a task's name that is not computed: tasks.a or tasks['my-task']", position)
    if not isinstance(path[0], str):
        raise SyntaxProblem(f"tasks[{path[0]}]: a task is named by a string, as in tasks['my-task']", position)
    if len(path) > 1 and path[1] not in TASK_FIELDS:
        raise SyntaxProblem(f"{render('tasks', path[:2])}: a task has {', '.join(TASK_FIELDS)}", position)


def check_hyphens(text: str) -> None:
    """Raises SyntaxProblem for ``tasks.my-task``, which CEL reads as a subtraction, and ``tasks.2nd``, a number."""
    tokens = tokenize(text)
    for at, root in enumerate(tokens[:-1]):
        if root.text != "tasks" or root.kind != "ident" or (at > 0 and tokens[at - 1].text == "."):
            continue
        following = tokens[at + 1]
        if following.text == ".":
            name = _written(tokens, at + 2)
            if "-" in name or name[:1].isdigit():
                raise SyntaxProblem(f"tasks.{name} does not name a task in CEL: write tasks['{name}']", root.start)
        elif following.kind == "double" and following.text[0] == "." and following.start == root.end:
            name = _written(tokens, at + 1)[1:]
            raise SyntaxProblem(f"tasks.{name} does not name a task in CEL: write tasks['{name}']", root.start)


def _written(tokens: list[Token], at: int) -> str:
    """The task's name that starts at ``at`` as it was meant, hyphens included."""
    name = tokens[at].text
    end = tokens[at].end
    for token in tokens[at + 1 :]:
        if token.start != end or not (token.text == "-" or token.kind in ("ident", "int", "uint", "double")):
            break
        name += token.text
        end = token.end
    return name.rstrip("-")
