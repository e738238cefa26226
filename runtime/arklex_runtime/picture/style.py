"""Colours, icons and outlines of the picture, light and dark. Plain CSS without variables, which not every viewer knows."""

from __future__ import annotations

from arklex_runtime.picture.model import BadgeKind, EdgeKind, NodeKind

KIND_COLOURS: dict[NodeKind, tuple[str, str]] = {
    "llm": ("#7c3aed", "#b794f6"),
    "custom": ("#2563eb", "#79a8ff"),
    "worker": ("#2563eb", "#79a8ff"),
    "rag": ("#0d9488", "#4fd1c5"),
    "database": ("#0369a1", "#63b8ee"),
    "browser": ("#4f46e5", "#9aa2ff"),
    "tool": ("#c2410c", "#f6a26b"),
    "graph": ("#be185d", "#f472b6"),
    "approval": ("#a16207", "#eac54f"),
    "value": ("#57606a", "#adbac7"),
}
"""A kind's colour on light and on dark."""

KIND_NAMES: dict[NodeKind, str] = {
    "llm": "model",
    "custom": "custom worker",
    "worker": "worker",
    "rag": "retrieval",
    "database": "database",
    "browser": "browser",
    "tool": "tool",
    "graph": "sub-graph",
    "approval": "approval",
    "value": "expression",
}

ICONS: dict[NodeKind, str] = {
    "llm": "M8 1.5 9.7 6.3 14.5 8 9.7 9.7 8 14.5 6.3 9.7 1.5 8 6.3 6.3Z",
    "custom": "M5.5 4 1.8 8l3.7 4M10.5 4l3.7 4-3.7 4",
    "worker": "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6ZM8 1.6v2M8 12.4v2M1.6 8h2M12.4 8h2M3.5 3.5l1.4 1.4"
    "M11.1 11.1l1.4 1.4M3.5 12.5l1.4-1.4M11.1 4.9l1.4-1.4",
    "rag": "M7 2.3a4.7 4.7 0 1 0 0 9.4 4.7 4.7 0 0 0 0-9.4ZM10.4 10.4l3.8 3.8",
    "database": "M2.8 4c0-2.4 10.4-2.4 10.4 0v8c0 2.4-10.4 2.4-10.4 0ZM2.8 4c0 2.4 10.4 2.4 10.4 0M2.8 8c0 2.4 10.4 2.4 10.4 0",
    "browser": "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8ZM1.8 8h12.4"
    "M8 1.8c-3.6 3.6-3.6 8.8 0 12.4 3.6-3.6 3.6-8.8 0-12.4",
    "tool": "M13.9 4.6 11.6 6.9 9.1 4.4l2.3-2.3a3.7 3.7 0 0 0-4.7 4.7"
    "L2.2 11.3a1.5 1.5 0 0 0 2.5 2.5l4.5-4.5a3.7 3.7 0 0 0 4.7-4.7Z",
    "graph": "M6.2 1.8h3.6v3.6H6.2ZM1.8 10.6h3.6v3.6H1.8ZM10.6 10.6h3.6v3.6h-3.6ZM8 5.4V8M3.6 10.6V8h8.8v2.6",
    "approval": "M8 2a2.7 2.7 0 1 0 0 5.4A2.7 2.7 0 0 0 8 2ZM2.6 14c0-6 10.8-6 10.8 0Z",
    "value": "M3 5.8h10M3 10.2h10",
}
"""Strokes in a 16 by 16 square."""

EDGE_COLOURS: dict[EdgeKind, tuple[str, str]] = {
    "data": ("#8792a2", "#6e7a8a"),
    "order": ("#8792a2", "#6e7a8a"),
    "fallback": ("#c2410c", "#f6a26b"),
}
EDGE_NAMES: dict[EdgeKind, str] = {"data": "uses the output", "order": "waits for", "fallback": "stands in on failure"}
EDGE_DASHES: dict[EdgeKind, str] = {"data": "", "order": "6 4", "fallback": "2 4"}

PHASE_COLOURS: dict[str, tuple[str, str]] = {
    "Pending": ("#afb8c1", "#545d68"),
    "Waiting": ("#a16207", "#eac54f"),
    "Running": ("#2563eb", "#58a6ff"),
    "Retrying": ("#c2410c", "#f0883e"),
    "Succeeded": ("#1a7f37", "#3fb950"),
    "Failed": ("#cf222e", "#f85149"),
    "Skipped": ("#8c959f", "#768390"),
    "Cancelled": ("#6e4b7e", "#b08bbb"),
}
PHASE_MARKS: dict[str, str] = {
    "Pending": "M-3 0h.1M0 0h.1M3 0h.1",
    "Waiting": "M-1.8-2.8v5.6M1.8-2.8v5.6",
    "Running": "M-1.6-2.8 2.8 0l-4.4 2.8Z",
    "Retrying": "M3-1A3.2 3.2 0 1 0 3 1.4M3.2-3.2V-1H1",
    "Succeeded": "M-3.2.2-.9 2.5 3.2-2.2",
    "Failed": "M-2.4-2.4 2.4 2.4M2.4-2.4-2.4 2.4",
    "Skipped": "M-3-2.4-.4 0-3 2.4M.4-2.4 3 0 .4 2.4",
    "Cancelled": "M-2.2-2.2h4.4v4.4h-4.4Z",
}
"""Strokes around (0, 0), in a circle of radius 8."""

BADGE_NAMES: dict[BadgeKind, str] = {
    "forEach": "for each item",
    "when": "conditional",
    "retry": "retries",
    "cache": "cached for",
    "fallback": "has a fallback",
    "timeout": "time limit",
    "continue": "does not fail the run",
    "saveState": "writes the session",
    "attempts": "attempts",
    "cached": "from the cache",
}

_FONT = 'font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",Helvetica,Arial,sans-serif'
_FIXED = f"""\
text{{{_FONT};font-size:11px}}
.title{{font-size:18px;font-weight:600}}
.name{{font-size:13px;font-weight:600}}
.label{{font-size:10px}}
.icon{{fill:none;stroke-width:1.5;stroke-linecap:round;stroke-linejoin:round}}
.tile{{fill-opacity:.13}}
.box{{stroke-width:1.3}}
.edge{{fill:none;stroke-width:1.4}}
.mark{{fill:none;stroke:#fff;stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}}
.band{{stroke-width:1.2;stroke-dasharray:3 4}}
.faded{{opacity:.55}}
"""


def stylesheet() -> str:
    """The CSS of every picture; dark colours apply where the viewer prefers them."""
    return f"{_FIXED}{_palette(0)}@media (prefers-color-scheme:dark){{\n{_palette(1)}}}\n"


def _palette(dark: int) -> str:
    ground, box, ink, muted, pill, line = (
        ("#ffffff", "#ffffff", "#1f2328", "#59636e", "#eef1f4", "#c4ccd6"),
        ("#0d1117", "#161b22", "#e6edf3", "#9aa5b1", "#2a313c", "#3d4753"),
    )[dark]
    rules = [f".ground{{fill:{ground}}}", f".title,.name{{fill:{ink}}}", f".detail,.label{{fill:{muted}}}"]
    rules += [f".box{{fill:{box};stroke:{line}}}", f".pill,.band{{fill:{pill}}}", f".band{{fill-opacity:.45;stroke:{line}}}"]
    for kind, colours in KIND_COLOURS.items():
        colour = colours[dark]
        rules.append(f".k-{kind} .box,.k-{kind} .icon{{stroke:{colour}}}.k-{kind} .tile{{fill:{colour}}}")
    for phase, colours in PHASE_COLOURS.items():
        colour = colours[dark]
        rules.append(f".p-{phase} .box{{stroke:{colour};stroke-width:1.8}}.dot.p-{phase}{{fill:{colour}}}")
    for edge, colours in EDGE_COLOURS.items():
        dash = f";stroke-dasharray:{EDGE_DASHES[edge]}" if EDGE_DASHES[edge] else ""
        rules.append(f".e-{edge}{{stroke:{colours[dark]}{dash}}}.tip-{edge}{{fill:{colours[dark]}}}")
    return "\n".join(rules) + "\n"
