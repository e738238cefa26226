"""The parts of an expression that the CEL library evaluates: arithmetic, order, conversions, time, text predicates.

Such an island of operators gets its operands as flat variables, already resolved: CEL never sees the context, only the
values it works on. (A context of 1,000 tasks costs 9 ms an evaluation; a value 0.1 µs.)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from arklex_api.expressions.budget import check_length
from arklex_api.expressions.errors import ExpressionError
from arklex_api.expressions.library import Program, compiler
from arklex_api.expressions.nodes import Binary, Call, Literal, Native, Node, Unary, children
from arklex_api.expressions.paths import Run, Scope
from arklex_api.expressions.values import article, kind

ARITHMETIC = ("+", "-", "*", "/", "%")
_SHOWN = 200
ORDER = ("<", "<=", ">", ">=")
_FUNCTION_ERROR = re.compile(r"Function '\w+' error: (.*?)(?:\. Check function arguments and their types\.)?\Z", re.DOTALL)
_SCALARS = (str, int, bool, float, type(None))


def is_native(node: Node) -> bool:
    """Whether the library evaluates this node; ``names`` of functions that are not ours included."""
    match node:
        case Native():
            return True
        case Binary(op=op):
            return op in ARITHMETIC or op in ORDER
        case Unary(op=op):
            return op == "-"
        case Call(name=name):
            return name.startswith(_PREFIX)
    return False


_PREFIX = "cel:"


def native_call(node: Call) -> Call:
    """The node marked as one that the library evaluates."""
    return Call(node.start, node.end, node.depth, _PREFIX + node.name, node.args)


def compile_island(node: Node, text: str, compile_part: Callable[[Node], Run]) -> Run:
    """A Run for the native ``node`` of the expression ``text``; other nodes under it are compiled by ``compile_part``.

    Raises ExpressionError if the library refuses it.
    """
    island = _Island(text, compile_part)
    source = island.write(node)
    program = _compile(source)
    operands = tuple((name, run) for name, run in island.operands.values())
    grows = _adds(node)

    def evaluate(scope: Scope) -> Any:
        values = {name: run(scope) for name, run in operands}
        if grows:
            _check_growth(source, values)
        try:
            value = program.execute(values)
        except BaseException as error:
            raise _translate(error, node, scope, text, compile_part) from None
        return value if type(value) in _SCALARS else _ordered(value)

    return evaluate


def _compile(source: str) -> Program:
    try:
        return compiler()(source)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise ExpressionError(_parse_message(str(error))) from None


def _parse_message(message: str) -> str:
    found = re.search(r"ERROR: <input>:\d+:\d+: (.*)", message)
    return found.group(1) if found else message


class _Island:
    """Writes a native tree as CEL text with a variable for each operand that is not native."""

    def __init__(self, text: str, compile_part: Callable[[Node], Run]) -> None:
        self._text = text
        self._compile = compile_part
        self.operands: dict[str, tuple[str, Run]] = {}

    def write(self, node: Node) -> str:
        match node:
            case Native() | Literal():
                return self._text[node.start : node.end]
            case Binary(op=op, left=left, right=right) if is_native(node):
                return f"{self._left(left, op)} {op} {self._grouped(right)}"
            case Unary(operand=operand) if is_native(node):
                return f"-{self._grouped(operand)}"
            case Call(name=name, args=args) if is_native(node):
                return _call(name.removeprefix(_PREFIX), [self.write(arg) for arg in args])
        return self._variable(node)

    def _grouped(self, node: Node) -> str:
        return f"({self.write(node)})" if is_native(node) and isinstance(node, Binary | Unary) else self.write(node)

    def _left(self, node: Node, op: str) -> str:
        """Without brackets in a chain like ``a + b + c``: the library's parser takes 96 of them."""
        chained = isinstance(node, Binary) and is_native(node) and _level(node.op) >= _level(op)
        return self.write(node) if chained else self._grouped(node)

    def _variable(self, node: Node) -> str:
        key = self._text[node.start : node.end]
        if key not in self.operands:
            self.operands[key] = (f"v{len(self.operands)}", self._compile(node))
        return self.operands[key][0]


def _level(op: str) -> int:
    return 2 if op in "*/%" else 1 if op in "+-" else 0


def _call(name: str, args: list[str]) -> str:
    if len(args) == 2 or name.startswith("get"):
        return f"({args[0]}).{name}({', '.join(args[1:])})"
    return f"{name}({', '.join(args)})"


def _adds(node: Node) -> bool:
    return is_native(node) and ((isinstance(node, Binary) and node.op == "+") or any(map(_adds, children(node))))


def _check_growth(source: str, values: dict[str, Any]) -> None:
    length = sum(len(value) for value in values.values() if type(value) in (str, list))
    if length > 100_000:
        check_length(sum(len(values[name]) for name in re.findall(r"\bv\d+\b", source) if type(values[name]) in (str, list)))


def _ordered(value: Any) -> Any:
    """The library returns maps in a random order: here they are in the order of their keys."""
    if type(value) is list:
        return [_ordered(item) for item in value]
    if type(value) is dict:
        return {key: _ordered(value[key]) for key in sorted(value)}
    return value


def _translate(
    error: BaseException, node: Node, scope: Scope, text: str, compile_part: Callable[[Node], Run]
) -> ExpressionError:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    inner = _inner_error(node, scope, compile_part)
    if inner is not None:
        return inner
    where = text[node.start : node.end][:_SHOWN]
    if isinstance(error, ZeroDivisionError):
        return ExpressionError(f"{where}: division by zero")
    if isinstance(error, OverflowError):
        return ExpressionError(f"{where}: the result is outside int64")
    found = _FUNCTION_ERROR.match(str(error))
    if found is not None:
        return ExpressionError(f"{where}: {' '.join(found.group(1).split())[:_SHOWN]}")
    return ExpressionError(f"{where}: {_mismatch(node, [kind(compile_part(part)(scope)) for part in children(node)])}")


def _inner_error(node: Node, scope: Scope, compile_part: Callable[[Node], Run]) -> ExpressionError | None:
    """The error of the innermost operation that fails by itself."""
    for part in children(node):
        try:
            compile_part(part)(scope)
        except ExpressionError as error:
            return error
    return None


def _mismatch(node: Node, kinds: list[str]) -> str:
    match node:
        case Binary(op=op):
            return f"{kinds[0]} {op} {kinds[1]}: {_conversion(set(kinds))}"
        case Unary():
            return f"'-' takes a number, not {article(kinds[0])}"
        case Call(name=name):
            return f"{name.removeprefix(_PREFIX)}() does not take {', '.join(map(article, kinds))}"
    return "the types do not match"


def _conversion(kinds: set[str]) -> str:
    if kinds == {"int", "double"}:
        return "CEL does not mix int and double: convert with double(x) or int(x)"
    if "string" in kinds and kinds & {"int", "double", "bool"}:
        return "CEL does not convert: write string(x), or int(x) or double(x)"
    return "CEL has no such operation"
