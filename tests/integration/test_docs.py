"""What the documents show is so: manifests lint, commands print what is shown, options and links are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer.main

from arklex_api.lint import lint
from arklex_api.loader import Manifests, load_text
from arklex_api.plan import compile_graph
from arklex_runtime.cli.app import app
from arklex_runtime.picture.adapter import diagram_of
from arklex_runtime.picture.svg import render_svg
from tests import documents
from tests.documents import ROOT, Block

PLAYED = ("README.md", "docs/guide.md")
ALL = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "bench/README.md"]
WRITTEN_HERE = [page for page in ALL if page.name != "architecture-guide.md"]
_CODE = re.compile(r"```.*?^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(arklex [^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def text(page: str | Path) -> str:
    return (ROOT / page).read_text()


def name_of(value: object) -> str:
    return value.info if isinstance(value, Block) else str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


SECTIONS = [(page, section) for page in PLAYED for section in documents.sections(text(page))]
MANIFESTS = [(page, block) for page in PLAYED for block in documents.blocks(text(page)) if "apiVersion: arklex" in block.text]


def differences(place: tuple[str, str]) -> list[str]:
    """What the commands of a section print else than shown."""
    page, section = place
    with documents.desk(text(page)) as desk:
        found = [documents.difference(step, desk.play(step)) for step in documents.sections(text(page))[section]]
    return [difference for difference in found if difference]


@pytest.fixture(scope="module")
def played() -> dict[tuple[str, str], list[str]]:
    """The differences of every section; two at a time, since nearly all the time goes into starting Python."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SECTIONS, pool.map(differences, SECTIONS), strict=True))


@pytest.mark.parametrize("place", SECTIONS, ids="-".join)
def test_commands_print_what_is_shown(played: dict[tuple[str, str], list[str]], place: tuple[str, str]) -> None:
    assert not played[place], "\n".join(played[place])


def test_every_manifest_has_a_name_under_which_it_is_tried() -> None:
    assert [block.text for _, block in MANIFESTS if not block.info] == []
    assert len(MANIFESTS) > 10


def beside(page: str) -> Manifests:
    """All Workers of a document: a manifest may use those of another block."""
    every = [block.text for where, block in MANIFESTS if where == page and not block.info.startswith("bad-")]
    return load_text("\n---\n".join(every), page)


@pytest.mark.parametrize("page", PLAYED)
def test_the_manifests_of_a_document_lint_together(page: str) -> None:
    manifests = beside(page)
    assert lint(manifests) == []
    assert manifests.graphs


@pytest.mark.parametrize("block", [block for _, block in MANIFESTS if block.info.startswith("bad-")], ids=name_of)
def test_what_is_called_bad_is_refused(block: Block) -> None:
    assert lint(load_text(block.text, block.info))


def commands(page: Path) -> Iterator[str]:
    """Command lines of ``arklex`` in a document, with placeholders where a reader puts something."""
    yield from _INLINE.findall(_CODE.sub("", page.read_text()).replace("\\|", "|"))
    for block in documents.blocks(page.read_text()):
        if block.language in ("console", "bash", "sh", "text"):
            yield from re.findall(r"^(?:\$ )?(arklex (?:[a-z]+).*)$", block.text, re.MULTILINE)


def options_of(command: str) -> set[str]:
    """The options that a command line gives; those in a shell's continuation are not its own."""
    words = shlex.split(re.split(r" (?:[|;&>#]|2>)", command)[0].replace("[", " ").replace("]", " "), posix=True)
    return {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}


@pytest.mark.parametrize("page", WRITTEN_HERE, ids=name_of)
def test_commands_and_options_exist(page: Path) -> None:
    group = typer.main.get_group(app)
    known = {name: {option for part in found.params for option in part.opts} for name, found in group.commands.items()}
    planned = {"logs", "import", "login"} if page.name in ("cluster.md", "design.md") else set()
    for command in commands(page):
        name = command.split()[1]
        if name in planned or not name.isidentifier():
            continue
        assert name in known, command
        assert options_of(command) <= known[name] | {"-h", "--help"}, command


@pytest.mark.parametrize("page", WRITTEN_HERE, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), link
        assert not anchor or anchor in anchors(found), link


def anchors(page: Path) -> set[str]:
    """Headings as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", _CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_document_is_in_the_index() -> None:
    index = text("docs/README.md")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


def test_the_picture_is_drawn_from_the_example() -> None:
    manifests = load_text(text("examples/support/support.yaml"), "support.yaml")
    plan = compile_graph(manifests.graphs["support"].spec)
    assert text("docs/pictures/support.svg") == render_svg(diagram_of(plan, "support", manifests.workers), "right")


def test_nothing_tells_of_the_machine_it_was_written_on() -> None:
    words = re.compile(r"/work/|/root/|/home/\w|/tmp/")
    assert [str(page) for page in WRITTEN_HERE if words.search(page.read_text())] == []
