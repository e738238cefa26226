"""A diagram as a Mermaid flowchart, which GitHub and many wikis draw in place."""

from __future__ import annotations

from arklex_runtime.picture.model import Diagram, EdgeKind, Node, NodeKind
from arklex_runtime.picture.style import KIND_COLOURS, PHASE_COLOURS
from arklex_runtime.picture.text import human_seconds

_SHAPES: dict[NodeKind, tuple[str, str]] = {
    "graph": ("[[", "]]"),
    "approval": ("{{", "}}"),
    "value": ("([", "])"),
    "database": ("[(", ")]"),
    "tool": ("[/", "\\]"),
}
_ARROWS: dict[EdgeKind, str] = {"data": "-->", "order": "-.->", "fallback": "-. on failure .->"}


def render_mermaid(diagram: Diagram) -> str:
    """``diagram`` as Mermaid text, ending in a newline. Nodes are n0, n1 … so that no name can be a keyword of Mermaid's."""
    ids = {node.name: f"n{index}" for index, node in enumerate(diagram.nodes)}
    lines = ["---", f"title: {_quoted(diagram.title)}", "---", "flowchart TD"]
    lines += [f"  {_node(ids[node.name], node)}" for node in diagram.nodes if node.band == "tasks"]
    finals = [node for node in diagram.nodes if node.band == "finally"]
    if finals:
        lines += ['  subgraph finally["finally"]', *(f"    {_node(ids[node.name], node)}" for node in finals), "  end"]
    lines += [f"  {ids[edge.source]} {_ARROWS[edge.kind]} {ids[edge.target]}" for edge in diagram.edges]
    return "\n".join(lines + _classes(diagram, ids)) + "\n"


def _node(identifier: str, node: Node) -> str:
    begin, end = _SHAPES.get(node.kind, ("[", "]"))
    parts = [f"<b>{_escaped(node.name)}</b>"]
    if node.detail:
        parts.append(_escaped(node.detail))
    if node.badges:
        parts.append(f"<small>{_escaped(' · '.join(badge.label for badge in node.badges))}</small>")
    if node.state is not None:
        took = f" {human_seconds(node.state.seconds)}" if node.state.seconds is not None else ""
        parts.append(_escaped(node.state.phase + took))
    return f'{identifier}{begin}"{"<br/>".join(parts)}"{end}'


def _classes(diagram: Diagram, ids: dict[str, str]) -> list[str]:
    colours: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    for node in diagram.nodes:
        name = node.state.phase if node.state is not None else node.kind
        colours[name] = PHASE_COLOURS.get(name, KIND_COLOURS[node.kind])[0]
        members.setdefault(name, []).append(ids[node.name])
    lines = [f"  classDef {name} stroke:{colours[name]},stroke-width:2px" for name in sorted(members)]
    return lines + [f"  class {','.join(members[name])} {name}" for name in sorted(members)]


def _escaped(text: str) -> str:
    """Every character that Mermaid or the HTML in its labels could read as markup, as an entity."""
    return "".join(c if c.isalnum() or c in " .,_-:·…↻⚡×" else f"#{ord(c)};" for c in " ".join(text.split()))


def _quoted(text: str) -> str:
    return '"' + " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') + '"'
