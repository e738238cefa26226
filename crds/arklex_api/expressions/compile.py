"""Turns the tree of an expression into closures, once per graph; literal mistakes come out here, not in a run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from arklex_api.expressions import logic
from arklex_api.expressions.budget import BUDGET, MAX_CONSTANT_STEPS, MAX_CONSTANT_UNITS, MAX_MACRO_DEPTH, Budget
from arklex_api.expressions.errors import ExpressionError, SyntaxProblem
from arklex_api.expressions.functions import FUNCTIONS, NATIVE, unknown
from arklex_api.expressions.macros import compile_macro
from arklex_api.expressions.native import compile_island, is_native, native_call
from arklex_api.expressions.nodes import (
    Binary,
    Call,
    Ident,
    Index,
    ListNode,
    Literal,
    Macro,
    MapNode,
    Node,
    Select,
    Ternary,
    Unary,
    children,
)
from arklex_api.expressions.paths import Run, compile_path
from arklex_api.expressions.references import static_path
from arklex_api.expressions.values import TYPE_NAMES, TypeValue

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled expression. ``macros``: how deep they nest; ``json``: the result needs no check; ``path``: a pure path."""

    run: Run
    macros: int
    json: bool
    path: bool


def compile_tree(node: Node, text: str, roots: Collection[str]) -> Code:
    """Compiles the tree of the expression ``text``. Raises SyntaxProblem."""
    depth = _macro_depth(node)
    run = _Compiler(text, roots).compile(node, frozenset())
    return Code(run, depth, _is_json(node), static_path(node) is not None and _is_json(node))


def _macro_depth(node: Node) -> int:
    if isinstance(node, Macro):
        target, *bodies = children(node)
        depth = max(_macro_depth(target), 1 + max(map(_macro_depth, bodies)))
        if depth > MAX_MACRO_DEPTH:
            raise SyntaxProblem(f"macros may nest {MAX_MACRO_DEPTH} deep: do the rest in another task", node.start)
        return depth
    return max(map(_macro_depth, children(node)), default=0)


def _free(node: Node) -> frozenset[str]:
    """The names that the node reads and does not bind itself."""
    if isinstance(node, Ident):
        return frozenset((node.name,))
    if isinstance(node, Macro):
        target, *bodies = children(node)
        return _free(target) | (frozenset().union(*map(_free, bodies)) - {node.variable})
    return frozenset().union(*map(_free, children(node)))


def _is_json(node: Node) -> bool:
    """Whether the result is known to be JSON, given that the scope is: no check of a large value that is only passed on."""
    match node:
        case Literal():
            return True
        case Ident(name=name):
            return name not in TYPE_NAMES
        case Select(operand=operand, test=test):
            return test or _is_json(operand)
        case Index(operand=operand):
            return _is_json(operand)
        case Binary(op=op):
            return op in ("==", "!=", "in", "&&", "||")
        case Unary(op=op):
            return op == "!"
        case Macro(name="map", target=target, body=body, transform=transform):
            return _is_json(target) and _is_json(transform or body)
        case Macro(name=name, target=target):
            return name != "filter" or _is_json(target)
        case Ternary(then=then, otherwise=otherwise):
            return _is_json(then) and _is_json(otherwise)
        case ListNode(items=items):
            return all(map(_is_json, items))
        case MapNode(values=values):
            return all(map(_is_json, values))
    return False


class _Compiler:
    def __init__(self, text: str, roots: Collection[str]) -> None:
        self._text = text
        self._roots = roots
        self._done: dict[tuple[int, frozenset[str]], Run] = {}

    def _show(self, node: Node) -> str:
        text = self._text[node.start : node.end]
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

    def compile(self, node: Node, bound: frozenset[str]) -> Run:
        """The closure of ``node`` under these macro variables; made once, as parts of an operation are asked for again."""
        key = (id(node), bound)
        if key not in self._done:
            run = self._compile(node, bound)
            fold = not isinstance(node, Literal) and self._constant(node, bound)
            self._done[key] = self._fold(node, run) if fold else run
        return self._done[key]

    def _constant(self, node: Node, bound: frozenset[str]) -> bool:
        return all(name in TYPE_NAMES and name not in self._roots and name not in bound for name in _free(node))

    def _fold(self, node: Node, run: Run) -> Run:
        try:
            value = run({BUDGET: Budget(MAX_CONSTANT_STEPS, MAX_CONSTANT_UNITS)})
        except ExpressionError as error:
            raise SyntaxProblem(str(error), node.start) from None
        return logic.constant(value)

    def _compile(self, node: Node, bound: frozenset[str]) -> Run:
        path = static_path(node)
        if path is not None and not (path[0] in TYPE_NAMES and path[0] not in self._roots and path[0] not in bound):
            return compile_path(*path)
        match node:
            case Literal(value=value):
                return logic.constant(value)
            case Ident(name=name):
                return logic.constant(TypeValue(name))
            case Select():
                return self._select(node, bound)
            case Index(operand=operand, index=index):
                return logic.index(self.compile(operand, bound), self.compile(index, bound), self._show(operand))
            case Macro():
                return self._macro(node, bound)
            case Call():
                return self._call(node, bound)
            case Ternary(condition=condition, then=then, otherwise=otherwise):
                runs = [self.compile(part, bound) for part in (condition, then, otherwise)]
                return logic.ternary(runs[0], runs[1], runs[2], self._show(condition))
            case ListNode(items=items):
                return logic.make_list([self.compile(item, bound) for item in items])
            case MapNode():
                return self._map(node, bound)
        return self._operator(node, bound)

    def _operator(self, node: Node, bound: frozenset[str]) -> Run:
        if is_native(node):
            return self._island(node, bound)
        if isinstance(node, Unary):
            return logic.negate(self.compile(node.operand, bound), self._show(node.operand))
        if not isinstance(node, Binary):
            raise SyntaxProblem("this is no expression", node.start)
        left, right = self.compile(node.left, bound), self.compile(node.right, bound)
        if node.op in ("&&", "||"):
            return logic.connect(left, right, node.op == "||", self._show(node.left), self._show(node.right))
        return logic.compare(node.op, left, right, self._show(node))

    def _island(self, node: Node, bound: frozenset[str]) -> Run:
        for part in children(node):
            if is_native(part) and children(part):
                self.compile(part, bound)
        try:
            return compile_island(node, self._text, lambda part: self.compile(part, bound))
        except ExpressionError as error:
            raise SyntaxProblem(str(error), node.start) from None

    def _select(self, node: Select, bound: frozenset[str]) -> Run:
        if not node.test:
            return logic.select(self.compile(node.operand, bound), node.field, self._show(node.operand))
        path = static_path(node.operand)
        if path is not None and path[0] == "tasks" and "tasks" not in bound:
            return logic.has_task((*path[1], node.field))
        return logic.has_field(self.compile(node.operand, bound), node.field, self._show(node.operand))

    def _macro(self, node: Macro, bound: frozenset[str]) -> Run:
        if node.variable in TYPE_NAMES:
            raise SyntaxProblem(f"'{node.variable}' is a type of CEL: name the variable otherwise", node.start)
        inner = bound | {node.variable}
        transform = None if node.transform is None else self.compile(node.transform, inner)
        target, body = self.compile(node.target, bound), self.compile(node.body, inner)
        return compile_macro(node.name, target, node.variable, body, transform, self._show(node.target))

    def _map(self, node: MapNode, bound: frozenset[str]) -> Run:
        literal = [key.value for key in node.keys if isinstance(key, Literal)]
        for at, key in enumerate(literal):
            if not isinstance(key, str):
                raise SyntaxProblem(f"the keys of a map must be strings: '{key}'", node.start)
            if key in literal[:at]:
                raise SyntaxProblem(f"the map has the key '{key}' twice", node.start)
        keys = [self.compile(key, bound) for key in node.keys]
        return logic.make_map(keys, [self.compile(value, bound) for value in node.values], self._show(node))

    def _call(self, node: Call, bound: frozenset[str]) -> Run:
        count, name = len(node.args), node.name
        if is_native(node):
            return self._island(node, bound)
        if name == "string":
            self._expect(node, count == 1)
            return logic.to_string(self.compile(node.args[0], bound), self._island(native_call(node), bound))
        if name in NATIVE:
            self._expect(node, count == NATIVE[name])
            return self._native(node, bound)
        if name not in FUNCTIONS:
            raise SyntaxProblem(unknown(name), node.start)
        self._expect(node, FUNCTIONS[name].accepts(count))
        return logic.call(FUNCTIONS[name], [self.compile(arg, bound) for arg in node.args])

    def _native(self, node: Call, bound: frozenset[str]) -> Run:
        if node.name == "matches" and isinstance(node.args[1], Literal):
            self._check_pattern(node.args[1])
        return self._island(native_call(node), bound)

    def _check_pattern(self, pattern: Literal) -> None:
        probe = Call(pattern.start, pattern.end, 2, "matches", (Literal(pattern.start, pattern.end, 1, ""), pattern))
        self._fold(probe, self._island(native_call(probe), frozenset()))

    def _expect(self, node: Call, right: bool) -> None:
        if not right:
            raise SyntaxProblem(f"{node.name}() does not take {len(node.args)} arguments", node.start)
