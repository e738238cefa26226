"""The pieces a node is drawn from: its outline, icon, phase and badges."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from arklex_runtime.picture.layout import badge_width
from arklex_runtime.picture.model import Badge, NodeKind
from arklex_runtime.picture.style import ICONS, PHASE_MARKS


def number(value: float) -> str:
    """``value`` with at most one decimal, without a trailing zero."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def outline(kind: NodeKind, width: float, height: float) -> str:
    """The box: a pill for expressions, pointed for approvals, cut corners for tools, a stack for sub-graphs."""
    wide, high, half = number(width), number(height), number(height / 2)
    if kind == "value":
        return f'<rect class="box" width="{wide}" height="{high}" rx="{number(min(height / 2, 24))}"/>'
    if kind == "approval":
        inner = number(width - 9)
        return f'<path class="box" stroke-linejoin="round" d="M9 0H{inner}L{wide} {half} {inner} {high}H9L0 {half}Z"/>'
    if kind == "tool":
        right, low = number(width - 9), number(height - 9)
        return f'<path class="box" stroke-linejoin="round" d="M9 0H{right}L{wide} 9V{low}L{right} {high}H9L0 {low}V9Z"/>'
    behind = f'<rect class="box" x="4" y="4" width="{wide}" height="{high}" rx="8"/>' if kind == "graph" else ""
    return f'{behind}<rect class="box" width="{wide}" height="{high}" rx="8"/>'


def icon(kind: NodeKind, x: float, y: float) -> str:
    """The kind's sign on its tile, 24 by 24 pixels."""
    return (
        f'<g transform="translate({number(x)} {number(y)})"><rect class="tile" width="24" height="24" rx="6"/>'
        f'<path class="icon" transform="translate(4 4)" d="{ICONS[kind]}"/></g>'
    )


def dot(phase: str, x: float, y: float) -> str:
    """The phase's sign, a disc of radius 8 around (x, y)."""
    place = f"translate({number(x)} {number(y)})"
    mark = PHASE_MARKS.get(phase, "")
    return f'<g transform="{place}"><circle class="dot p-{escape(phase)}" r="8"/><path class="mark" d="{mark}"/></g>'


def pill(label: str, x: float, y: float) -> str:
    """A badge, 16 pixels high, its upper left corner at (x, y)."""
    width = badge_width(label)
    return (
        f'<rect class="pill" x="{number(x)}" y="{number(y)}" width="{number(width)}" height="16" rx="8"/>'
        f'<text class="label" x="{number(x + width / 2)}" y="{number(y + 11.5)}" text-anchor="middle">{escape(label)}</text>'
    )


def badges(items: Sequence[Badge], x: float, y: float, room: float) -> str:
    """Pills side by side; those that do not fit give way to ``+n``."""
    made = []
    end = x + room
    for index, badge in enumerate(items):
        rest = len(items) - index - 1
        more = badge_width(f"+{rest}") + 4 if rest else 0.0
        if x + badge_width(badge.label) + more > end + 0.1 and x + badge_width(badge.label) > end - 0.1 * (not rest):
            made.append(pill(f"+{rest + 1}", x, y))
            break
        made.append(pill(badge.label, x, y))
        x += badge_width(badge.label) + 4
    return "".join(made)
