"""The commands that need no database: lint, graph, crds, version."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arklex_runtime.cli.failures import Refused
from arklex_runtime.cli.inputs import accepted_manifests, choose_graph, read_manifests
from arklex_runtime.cli.terminal import Terminal

if TYPE_CHECKING:
    from arklex_runtime.picture.layout import Direction
    from arklex_runtime.picture.model import Diagram

LARGE = 200 << 10
"""Bytes of JSON: ``kubectl apply`` on the client keeps a copy in an annotation, of which all together may hold 256 KiB."""


def lint_files(terminal: Terminal, files: Sequence[str]) -> int:
    """0 if nothing is wrong, else 2. An object too large for a plain ``kubectl apply`` is a note, not a problem."""
    manifests = read_manifests(files)
    for each in manifests.documents:
        if (size := len(json.dumps(each.value, ensure_ascii=False).encode())) > LARGE:
            terminal.note(f"{each.file}: {each.kind} '{each.name}' has {size >> 10} KiB: use kubectl apply --server-side")
    if manifests.problems or terminal.json:
        terminal.problems(manifests.problems)
    if manifests.problems:
        count = len(manifests.problems)
        terminal.note(f"{count} problem{'' if count == 1 else 's'}")
        return 2
    if not terminal.json:
        terminal.print(f"{_counted(manifests.graphs, 'TaskGraph')} and {_counted(manifests.workers, 'Worker')}: no problems")
    return 0


def _counted(things: Collection[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def draw_files(
    terminal: Terminal, files: Sequence[str], graph: str | None, target: str, *, mermaid: bool = False, right: bool = False
) -> int:
    """Draw a graph of the files into ``target``."""
    from arklex_api.plan import compile_graph
    from arklex_runtime.picture.adapter import diagram_of

    manifests = accepted_manifests(files)
    name = choose_graph(manifests, graph)
    diagram = diagram_of(compile_graph(manifests.graphs[name].spec), name, manifests.workers)
    return draw(terminal, diagram, target, mermaid=mermaid, direction="right" if right else "down")


def draw(terminal: Terminal, diagram: Diagram, target: str, *, mermaid: bool = False, direction: Direction = "down") -> int:
    """Write ``diagram`` to ``target``: SVG or, by its ending, Mermaid. Raises Refused for another ending."""
    from arklex_runtime.picture.mermaid import render_mermaid
    from arklex_runtime.picture.svg import render_svg

    ending = Path(target).suffix.lower()
    if target != "-" and ending not in (".svg", ".mmd", ".mermaid"):
        raise Refused.of("--out", "UnknownFormat", f"{target}: name a file that ends in .svg or .mmd, or - for stdout")
    text = render_mermaid(diagram) if mermaid or ending in (".mmd", ".mermaid") else render_svg(diagram, direction)
    if target == "-":
        terminal.print(text)
    else:
        Path(target).write_text(text, encoding="utf-8")
        terminal.note(f"wrote {target}")
    return 0


def print_crds(terminal: Terminal, folder: str | None) -> int:
    """Print the CRDs, or write one file each into ``folder``."""
    from arklex_api.crd import generate

    documents = generate()
    if folder is None:
        terminal.print("---\n".join(documents.values()))
        return 0
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in documents.items():
        (Path(folder) / name).write_text(text, encoding="utf-8")
        terminal.note(f"wrote {Path(folder) / name}")
    return 0


def print_version(terminal: Terminal) -> int:
    """Print arklex's version and Python's."""
    import platform
    from importlib import metadata

    try:
        found = metadata.version("arklex-operator")
    except metadata.PackageNotFoundError:
        found = "0.0.0+source"
    if terminal.json:
        terminal.document({"version": found, "python": platform.python_version()})
    else:
        terminal.print(f"arklex {found} (Python {platform.python_version()})")
    return 0
