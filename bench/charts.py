"""Line charts as one SVG, a panel below the other over the same x axis; nothing but the standard library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 760, 130, 62, 150, 34, 46
COLOURS = ("#0f6fb8", "#c2410c", "#15803d", "#7c3aed")
INK, GRID = "#64748b", "#cbd5e1"
"""Read well on white and on black."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines by name, in one unit; the y axis begins at 0."""

    title: str
    lines: dict[str, Points]


def nice(most: float) -> float:
    """The least of 1, 2, 2.5 and 5 times a power of ten that is not below ``most``; 1 for nothing."""
    if most <= 0:
        return 1.0
    scale = 10.0 ** (len(f"{int(most)}") - 1) if most >= 1 else 10.0 ** -(len(f"{int(1 / most)}"))
    return next(step * scale for step in (1, 2, 2.5, 5, 10) if step * scale >= most)


def svg(title: str, x_title: str, panels: Sequence[Panel]) -> str:
    """The picture. Each panel has at least one point."""
    right = max(x for panel in panels for line in panel.lines.values() for x, _ in line)
    height = TOP + len(panels) * (HEIGHT + GAP) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}" role="img"><title>{escape(title)}</title>'
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, TOP + number * (HEIGHT + GAP), nice(right))
    parts.append(f'<text x="{LEFT + WIDTH / 2:.0f}" y="{height - 6}" text-anchor="middle">{escape(x_title)}</text></svg>')
    return "\n".join(parts) + "\n"


def _panel(panel: Panel, top: float, right: float) -> list[str]:
    most = nice(max(y for line in panel.lines.values() for _, y in line))
    bottom = top + HEIGHT
    parts = [f'<text x="{LEFT}" y="{top - 10}" font-weight="bold">{escape(panel.title)}</text>']
    for part in range(5):
        y, x = bottom - HEIGHT * part / 4, LEFT + WIDTH * part / 4
        parts.append(f'<path d="M{LEFT} {y:.1f}h{WIDTH}" stroke="{GRID}" stroke-width="0.7"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * part / 4:,.6g}</text>')
        parts.append(f'<text x="{x:.0f}" y="{bottom + 16}" text-anchor="middle">{right * part / 4:,.0f}</text>')
    for number, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[number]
        points = " ".join(f"{LEFT + WIDTH * x / right:.1f},{bottom - HEIGHT * y / most:.1f}" for x, y in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        place = f'x="{LEFT + WIDTH + 10}" y="{top + 12 + 18 * number}"'
        parts.append(f'<text {place} fill="{colour}">{escape(name)}</text>')
    return parts
