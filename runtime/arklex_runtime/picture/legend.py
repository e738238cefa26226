"""The legend below a picture: only what occurs in it."""

from __future__ import annotations

from dataclasses import dataclass

from arklex_runtime.picture.layout import badge_width
from arklex_runtime.picture.model import Diagram
from arklex_runtime.picture.shapes import dot, icon, number, pill
from arklex_runtime.picture.style import BADGE_NAMES, EDGE_NAMES, KIND_NAMES, PHASE_COLOURS
from arklex_runtime.picture.text import text_width

LINE, GAP = 26.0, 18.0


@dataclass(frozen=True, slots=True)
class _Item:
    """A sample (drawn around the line's middle, at x 0) ``room`` pixels wide, and what it means."""

    sample: str
    room: float
    meaning: str

    @property
    def width(self) -> float:
        return self.room + 6 + text_width(self.meaning, 11)


class Legend:
    """Samples with their meanings, folded into lines of at most ``room`` pixels; ``height`` includes the space around."""

    def __init__(self, diagram: Diagram, room: float) -> None:
        self._lines: list[list[_Item]] = []
        for group in (_kinds(diagram), _edges(diagram), _badges(diagram), _phases(diagram)):
            self._lines += _folded(group, room)
        self.height = len(self._lines) * LINE + (24 if self._lines else 0)

    def draw(self, x: float, y: float) -> str:
        """The legend as SVG, its upper left corner at (x, y)."""
        parts = []
        for row, line in enumerate(self._lines):
            at = x
            for item in line:
                middle = y + row * LINE + LINE / 2
                parts.append(f'<g transform="translate({number(at)} {number(middle)})">{item.sample}')
                parts.append(f'<text class="detail" x="{number(item.room + 6)}" y="4">{item.meaning}</text></g>')
                at += item.width + GAP
        return "".join(parts)


def _folded(items: list[_Item], room: float) -> list[list[_Item]]:
    lines: list[list[_Item]] = []
    used = room
    for item in items:
        if not lines or used + GAP + item.width > room:
            lines.append([])
            used = -GAP
        lines[-1].append(item)
        used += GAP + item.width
    return lines


def _kinds(diagram: Diagram) -> list[_Item]:
    present = {node.kind for node in diagram.nodes}
    return [
        _Item(f'<g class="k-{kind}" transform="scale(.75)">{icon(kind, 0, -12)}</g>', 18, name)
        for kind, name in KIND_NAMES.items()
        if kind in present
    ]


def _edges(diagram: Diagram) -> list[_Item]:
    present = {edge.kind for edge in diagram.edges}
    return [
        _Item(f'<path class="edge e-{kind}" d="M0 0H34" marker-end="url(#tip-{kind})"/>', 34, name)
        for kind, name in EDGE_NAMES.items()
        if kind in present
    ]


def _badges(diagram: Diagram) -> list[_Item]:
    samples = {badge.kind: badge.label for node in reversed(diagram.nodes) for badge in node.badges}
    return [
        _Item(pill(samples[kind], 0, -8), badge_width(samples[kind]), name)
        for kind, name in BADGE_NAMES.items()
        if kind in samples
    ]


def _phases(diagram: Diagram) -> list[_Item]:
    present = {node.state.phase for node in diagram.nodes if node.state is not None}
    return [_Item(dot(phase, 8, 0), 16, phase) for phase in PHASE_COLOURS if phase in present]
