"""A recursive-descent parser for CEL's grammar (langdef.md, "Syntax"), without messages and optional syntax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from arklex_api.expressions.errors import SyntaxProblem
from arklex_api.expressions.nodes import (
    Binary,
    Call,
    Ident,
    Index,
    ListNode,
    Literal,
    Macro,
    MapNode,
    Native,
    Node,
    Select,
    Ternary,
    Unary,
)
from arklex_api.expressions.tokens import Token, string_value, tokenize

MAX_SOURCE_BYTES = 4096
MAX_NESTING = 32
"""How deep brackets, ``?:`` and signs may nest: each is a call on the parsers' stacks."""
MAX_DEPTH = 128
"""How deep the whole tree may be: ``a + b + c`` is 3. CEL's evaluation recurses on it, in threads with small stacks too."""

MACROS = {"all": (2,), "exists": (2,), "exists_one": (2,), "existsOne": (2,), "map": (2, 3), "filter": (2,)}
NAMESPACES = ("math", "sets", "base64", "strings", "lists")
"""Prefixes of functions: ``math.abs(x)`` is one name, not a method of a variable ``math``."""
_LEVELS = (("||",), ("&&",), ("<", "<=", ">", ">=", "==", "!=", "in"), ("+", "-"), ("*", "/", "%"))
_CONSTANTS = {"true": True, "false": False, "null": None}
_MAX_INT = 2**63


def parse(text: str) -> Node:
    """The tree of one expression. Raises SyntaxProblem with the position of the first mistake."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES:
        raise SyntaxProblem(f"an expression may be {MAX_SOURCE_BYTES} bytes long")
    if not text.strip():
        raise SyntaxProblem("the expression is empty", 0)
    parser = _Parser(tokenize(text))
    node = parser.expression()
    parser.expect_end()
    return node


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._nesting = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _accept(self, *ops: str) -> Token | None:
        token = self._next
        if token.text in ops and token.kind in ("op", "ident"):
            return self._take()
        return None

    def _expect(self, op: str) -> Token:
        token = self._accept(op)
        if token is None:
            raise self._unexpected(f"expected '{op}'")
        return token

    def _unexpected(self, wanted: str) -> SyntaxProblem:
        token = self._next
        found = "the expression ends" if token.kind == "end" else f"found '{token.text}'"
        return SyntaxProblem(f"{wanted}, but {found}", token.start)

    def expect_end(self) -> None:
        if self._next.kind != "end":
            raise self._unexpected("expected an operator or the end")

    def _nested(self, parse: Callable[[], Node]) -> Node:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise SyntaxProblem(f"nested more than {MAX_NESTING} deep", self._next.start)
        node = parse()
        self._nesting -= 1
        return node

    def _checked(self, node: Node) -> Node:
        if node.depth > MAX_DEPTH:
            raise SyntaxProblem(f"more than {MAX_DEPTH} operations on one another", node.start)
        return node

    def expression(self) -> Node:
        condition = self._binary(0)
        if self._accept("?") is None:
            return condition
        then = self._nested(lambda: self._binary(0))
        self._expect(":")
        otherwise = self._nested(self.expression)
        depth = 1 + max(condition.depth, then.depth, otherwise.depth)
        return self._checked(Ternary(condition.start, otherwise.end, depth, condition, then, otherwise))

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while (op := self._accept(*_LEVELS[level])) is not None:
            right = self._binary(level + 1)
            depth = 1 + max(left.depth, right.depth)
            left = self._checked(Binary(left.start, right.end, depth, op.text, left, right))
        return left

    def _unary(self) -> Node:
        op = self._accept("-", "!")
        if op is None:
            return self._member()
        if op.text == "-" and self._next.kind in ("int", "double"):
            return self._postfix(self._number(self._take(), op.start))
        operand = self._nested(self._unary)
        return self._checked(Unary(op.start, operand.end, 1 + operand.depth, op.text, operand))

    def _member(self) -> Node:
        return self._postfix(self._primary())

    def _postfix(self, node: Node) -> Node:
        while True:
            if self._accept("."):
                node = self._dot(node)
            elif self._accept("["):
                index = self._nested(self.expression)
                end = self._expect("]").end
                node = Index(node.start, end, 1 + max(node.depth, index.depth), node, index)
            elif self._next.text == "{":
                raise SyntaxProblem("messages (Name{…}) are not supported", self._next.start)
            else:
                return node
            self._checked(node)

    def _dot(self, node: Node) -> Node:
        field = self._name("a field's name")
        if self._accept("(") is None:
            return Select(node.start, field.end, 1 + node.depth, node, field.text, False)
        if field.text in MACROS:
            return self._macro(field, node)
        args, end = self._list(")")
        name = field.text
        if isinstance(node, Ident) and node.name in NAMESPACES:
            return Call(node.start, end, 1 + _height(args), f"{node.name}.{name}", args)
        return Call(node.start, end, 1 + max(node.depth, _height(args)), name, (node, *args))

    def _name(self, what: str) -> Token:
        token = self._next
        if token.kind != "ident":
            raise self._unexpected(f"expected {what}")
        if token.text in ("in", "true", "false", "null"):
            raise SyntaxProblem(f"'{token.text}' is a word of CEL: write ['{token.text}']", token.start)
        return self._take()

    def _macro(self, name: Token, target: Node) -> Node:
        args, end = self._list(")")
        wanted = MACROS[name.text]
        if len(args) not in wanted:
            counts = " or ".join(str(count) for count in wanted)
            raise SyntaxProblem(f"{name.text}() takes {counts} arguments, a variable first", name.start)
        variable = args[0]
        if not isinstance(variable, Ident):
            raise SyntaxProblem(f"the first argument of {name.text}() must be a plain name", variable.start)
        transform = args[2] if len(args) == 3 else None
        depth = 1 + max(target.depth, _height(args))
        return Macro(target.start, end, depth, name.text, target, variable.name, args[1], transform)

    def _list(self, close: str) -> tuple[tuple[Node, ...], int]:
        items: list[Node] = []
        while True:
            if (end := self._accept(close)) is not None:
                return tuple(items), end.end
            items.append(self._nested(self.expression))
            if self._accept(",") is None:
                return tuple(items), self._expect(close).end

    def _primary(self) -> Node:
        token = self._next
        if token.kind in ("int", "double"):
            return self._number(self._take(), token.start)
        if token.kind in ("uint", "bytes"):
            self._take()
            return Native(token.start, token.end, 1)
        if token.kind == "string":
            self._take()
            return Literal(token.start, token.end, 1, string_value(token.text))
        if token.kind == "ident":
            return self._identifier()
        if self._accept("("):
            return self._parenthesis(token)
        if self._accept("["):
            items, end = self._list("]")
            return ListNode(token.start, end, 1 + _height(items), items)
        if self._accept("{"):
            return self._map(token)
        raise self._unexpected("expected a value")

    def _parenthesis(self, opening: Token) -> Node:
        node = self._nested(self.expression)
        return replace(node, start=opening.start, end=self._expect(")").end)

    def _identifier(self) -> Node:
        token = self._take()
        if token.text in _CONSTANTS:
            return Literal(token.start, token.end, 1, _CONSTANTS[token.text])
        if token.text == "in":
            raise SyntaxProblem("expected a value, but found 'in'", token.start)
        if self._accept("(") is None:
            return Ident(token.start, token.end, 1, token.text)
        args, end = self._list(")")
        if token.text == "has":
            return _has(token, args, end)
        return Call(token.start, end, 1 + _height(args), token.text, args)

    def _map(self, opening: Token) -> Node:
        keys: list[Node] = []
        values: list[Node] = []
        while True:
            if (end := self._accept("}")) is not None:
                break
            keys.append(self._nested(self.expression))
            self._expect(":")
            values.append(self._nested(self.expression))
            if self._accept(",") is None:
                end = self._expect("}")
                break
        depth = 1 + max(_height(keys), _height(values))
        return MapNode(opening.start, end.end, depth, tuple(keys), tuple(values))

    def _number(self, token: Token, start: int) -> Node:
        negative = start != token.start
        if token.kind == "double":
            number = float(token.text)
            if number in (float("inf"), float("-inf")):
                raise SyntaxProblem(f"{token.text} is too large for a double", start)
            return Literal(start, token.end, 1, -number if negative else number)
        value = int(token.text, 16) if token.text.startswith("0x") else int(token.text)
        if value > _MAX_INT or (value == _MAX_INT and not negative):
            raise SyntaxProblem(f"{token.text} is outside int64", start)
        return Literal(start, token.end, 1, -value if negative else value)


def _height(nodes: tuple[Node, ...] | list[Node]) -> int:
    return max((node.depth for node in nodes), default=0)


def _has(name: Token, args: tuple[Node, ...], end: int) -> Node:
    if len(args) != 1 or not isinstance(args[0], Select) or args[0].test:
        raise SyntaxProblem("has() takes one field, as in has(a.b); for a key that is no name write 'the key' in a", name.start)
    field = args[0]
    return Select(name.start, end, field.depth + 1, field.operand, field.field, True)
