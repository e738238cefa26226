"""A diagram as a self-contained SVG document: no scripts, no fonts, no links; every text escaped."""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise

from arklex_runtime.picture.layout import Box, Direction, Layout, Point, layout
from arklex_runtime.picture.legend import Legend
from arklex_runtime.picture.model import Diagram
from arklex_runtime.picture.shapes import badges, dot, icon, number, outline
from arklex_runtime.picture.style import EDGE_NAMES, stylesheet
from arklex_runtime.picture.text import human_seconds, shorten, text_width

TITLE_ROOM = 64.0
_FORBIDDEN = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NARROWEST_PAGE = 460.0


def render_svg(diagram: Diagram, direction: Direction = "down") -> str:
    """``diagram`` as an SVG document, ending in a newline. Deterministic. Raises ValueError for a cycle."""
    plan = layout(diagram, direction)
    heading = max(text_width(diagram.title, 18, bold=True) + 80, text_width(diagram.subtitle, 11) + 60)
    width = max(plan.width, heading, NARROWEST_PAGE)
    legend = Legend(diagram, width - 56)
    height = TITLE_ROOM + plan.height + legend.height
    shift = (width - plan.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(width)}" height="{number(height)}" '
        f'viewBox="0 0 {number(width)} {number(height)}" role="img" aria-labelledby="title description">',
        f'<title id="title">{_text(diagram.title)}</title>',
        f'<desc id="description">{_text(diagram.subtitle)}</desc>',
        f"<style>\n{stylesheet()}</style>",
        _tips(),
        f'<rect class="ground" width="{number(width)}" height="{number(height)}"/>',
        _heading(diagram),
        f'<g transform="translate({number(shift)} {number(TITLE_ROOM)})">',
        *_bands(plan),
        *_edges(plan),
        *(_node(box) for box in plan.boxes),
        "</g>",
        legend.draw(28, TITLE_ROOM + plan.height),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _text(text: str) -> str:
    """Escaped; characters that XML 1.0 forbids become a replacement character."""
    return escape(_FORBIDDEN.sub("\ufffd", text))


def _tips() -> str:
    tips = "".join(
        f'<marker id="tip-{kind}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="tip-{kind}" d="M0 .6 8 4 0 7.4Z"/></marker>'
        for kind in EDGE_NAMES
    )
    return f"<defs>{tips}</defs>"


def _heading(diagram: Diagram) -> str:
    left = 28.0
    mark = ""
    if diagram.phase is not None:
        mark = dot(diagram.phase, left + 8, 30)
        left += 24
    subtitle = f'<text class="detail" x="28" y="56">{_text(diagram.subtitle)}</text>' if diagram.subtitle else ""
    return f'{mark}<text class="title" x="{number(left)}" y="36">{_text(diagram.title)}</text>{subtitle}'


def _bands(plan: Layout) -> list[str]:
    return [
        f'<rect class="band" x="{number(band.x)}" y="{number(band.y)}" '
        f'width="{number(band.width)}" height="{number(band.height)}" rx="12"/>'
        f'<text class="detail" x="{number(band.x + 14)}" y="{number(band.y + 14)}">{_text(band.name)}</text>'
        for band in plan.bands
    ]


def _edges(plan: Layout) -> list[str]:
    """One path for each stretch not drawn yet: edges of a trunk share it."""
    drawn: set[tuple[str, Point, Point]] = set()
    paths = []
    for route in plan.routes:
        stretch: list[Point] = []
        pairs = list(pairwise(route.points))
        for index, (start, end) in enumerate(pairs):
            key = (route.edge.kind, start, end)
            if key not in drawn:
                drawn.add(key)
                stretch = stretch or [start]
                stretch.append(end)
            last = index == len(pairs) - 1
            if stretch and (last or stretch[-1] != end):
                paths.append(_path(stretch, route.edge.kind, plan.direction, tip=last and stretch[-1] == end))
                stretch = []
    return paths


def _path(points: list[Point], kind: str, direction: Direction, *, tip: bool) -> str:
    steps = [f"M{number(points[0][0])} {number(points[0][1])}"]
    for (x1, y1), (x2, y2) in pairwise(points):
        if direction == "down" and x1 == x2:
            steps.append(f"V{number(y2)}")
        elif direction == "right" and y1 == y2:
            steps.append(f"H{number(x2)}")
        else:
            middle = (x1, (y1 + y2) / 2, x2, (y1 + y2) / 2) if direction == "down" else ((x1 + x2) / 2, y1, (x1 + x2) / 2, y2)
            steps.append("C" + " ".join(number(value) for value in (*middle, x2, y2)))
    marker = f' marker-end="url(#tip-{kind})"' if tip else ""
    return f'<path class="edge e-{kind}" d="{"".join(steps)}"{marker}/>'


def _node(box: Box) -> str:
    node, state = box.node, box.node.state
    classes = f"k-{node.kind}" + (f" p-{state.phase}" if state else "")
    faded = " faded" if state and state.phase in ("Skipped", "Pending") else ""
    room = box.width - 50 - (24 if state else 0)
    took = human_seconds(state.seconds) if state and state.seconds is not None else ""
    detail_room = box.width - 50 - (text_width(took, 11) + 8 if took else 0)
    parts = [
        f'<g class="node {classes}{faded}" transform="translate({number(box.x)} {number(box.y)})">',
        f"<title>{_text(_tooltip(box))}</title>",
        outline(node.kind, box.width, box.height),
        icon(node.kind, 11, 12),
        f'<text class="name" x="42" y="21">{_text(shorten(node.name, room, 13, bold=True))}</text>',
        f'<text class="detail" x="42" y="37">{_text(shorten(node.detail, detail_room, 11))}</text>',
        dot(state.phase, box.width - 16, 16) if state else "",
        f'<text class="detail" x="{number(box.width - 10)}" y="37" text-anchor="end">{_text(took)}</text>' if took else "",
        badges(node.badges, 12, 46, box.width - 24),
        "</g>",
    ]
    return "".join(parts)


def _tooltip(box: Box) -> str:
    node, state = box.node, box.node.state
    lines = [node.name, node.detail, *(badge.detail or badge.label for badge in node.badges)]
    if state is not None:
        lines.append(f"{state.phase}, {state.attempts} attempt{'' if state.attempts == 1 else 's'}")
        lines.append(state.message)
    return "\n".join(line for line in lines if line)
