"""The syntax tree of an expression. ``start`` and ``end`` of a node count characters in the expression's text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from arklex_api.base import JSON


@dataclass(frozen=True, slots=True)
class Span:
    """What every node has; ``depth`` is the height of the tree under it, 1 for a leaf."""

    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Literal(Span):
    """null, true, 3, 1.5, 'text': a literal that is JSON."""

    value: JSON


@dataclass(frozen=True, slots=True)
class Native(Span):
    """A literal that is not JSON: ``1u``, ``b'…'``. CEL reads it."""


@dataclass(frozen=True, slots=True)
class Ident(Span):
    """A variable, or the name of a type."""

    name: str


@dataclass(frozen=True, slots=True)
class Select(Span):
    """``operand.field``; with ``test``, ``has(operand.field)``."""

    operand: Node
    field: str
    test: bool


@dataclass(frozen=True, slots=True)
class Index(Span):
    """``operand[index]``."""

    operand: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Call(Span):
    """``name(args)`` or ``target.name(args)``, which mean the same; ``args`` starts with the target, if there is one."""

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Macro(Span):
    """``target.name(variable, body)``; ``transform`` only for the ``map`` of three arguments, whose body is the filter."""

    name: str
    target: Node
    variable: str
    body: Node
    transform: Node | None


@dataclass(frozen=True, slots=True)
class Unary(Span):
    """``-operand`` or ``!operand``."""

    op: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary(Span):
    """``left op right``, ``in`` and logic included."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Ternary(Span):
    """``condition ? then : otherwise``."""

    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class ListNode(Span):
    """``[items]``."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapNode(Span):
    """``{keys: values}``; both are as long."""

    keys: tuple[Node, ...]
    values: tuple[Node, ...]


Node: TypeAlias = Literal | Native | Ident | Select | Index | Call | Macro | Unary | Binary | Ternary | ListNode | MapNode


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly under ``node``, in the order they are written."""
    match node:
        case Select(operand=operand) | Unary(operand=operand):
            return (operand,)
        case Index(operand=operand, index=index):
            return (operand, index)
        case Call(args=args):
            return args
        case Macro(target=target, body=body, transform=transform):
            return (target, body) if transform is None else (target, body, transform)
        case Binary(left=left, right=right):
            return (left, right)
        case Ternary(condition=condition, then=then, otherwise=otherwise):
            return (condition, then, otherwise)
        case ListNode(items=items):
            return items
        case MapNode(keys=keys, values=values):
            return tuple(node for pair in zip(keys, values, strict=True) for node in pair)
    return ()
