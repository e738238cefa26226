"""Every example lints and draws; those that need no hosted model run."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from arklex_api.lint import lint
from arklex_api.loader import Manifests, load_files
from arklex_runtime.engine.program import Program
from arklex_runtime.picture.adapter import diagram_of
from arklex_runtime.picture.mermaid import render_mermaid
from arklex_runtime.picture.svg import render_svg
from tests.commands import Arklex

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "examples").rglob("*.yaml"))


@pytest.fixture
def arklex(tmp_path: Path) -> Arklex:
    return Arklex(tmp_path)


@pytest.fixture(params=FILES, ids=lambda file: str(file.relative_to(ROOT / "examples")))
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return load_files([request.param])


def test_there_are_examples() -> None:
    assert {"approval", "docs-qa", "foreach", "hello", "subgraph", "support"} <= {file.stem for file in FILES}


def test_it_lints(manifests: Manifests) -> None:
    assert lint(manifests) == []


def test_it_compiles_and_draws(manifests: Manifests) -> None:
    for name in manifests.graphs:
        program = Program.of(name, manifests.graphs, manifests.workers)
        diagram = diagram_of(program.plan, name, program.workers)
        assert [node.name for node in diagram.nodes] == [node.name for node in program.plan.nodes]
        ET.fromstring(render_svg(diagram))
        assert render_mermaid(diagram).count("\n") > len(diagram.nodes)


def test_hello(arklex: Arklex) -> None:
    done = arklex("run", ROOT / "examples/hello/hello.yaml", "--input", '{"name": "Ada"}').works()
    assert done.out == "Hello, Ada! Your name has 3 letters.\n"


def test_foreach(arklex: Arklex) -> None:
    document = arklex("run", ROOT / "examples/foreach/foreach.yaml", "--output", "json").works().json
    assert document["output"]["heavy"] == ["milk", "coffee", "flaky"]
    assert document["output"]["failed"] == 1
    assert [item and item["word"] for item in document["output"]["all"]] == ["tea", "milk", None, "coffee", "flaky"]
    assert document["tasks"]["weigh"]["attempts"] == 6


def test_subgraph(arklex: Arklex) -> None:
    document = arklex("run", ROOT / "examples/subgraph/subgraph.yaml", "--graph", "report", "--output", "json").works().json
    assert document["output"].splitlines()[1] == "2. On bridges: bridges are old; bridges are many."
    assert document["tasks"]["chapters[1]/text"]["phase"] == "Succeeded"


def test_support_waits_for_its_cluster(arklex: Arklex) -> None:
    """Its workers of type rag, database and browser do not run embedded; its secrets are not here either."""
    env = {"ARKLEX_SECRET_TICKETS_TOKEN": "t", "ARKLEX_SECRET_OPENAI_APIKEY": "k"}
    arklex.env |= env
    done = arklex("run", ROOT / "examples/support/support.yaml", "--output", "json").fails(2)
    assert done.reasons == ["NotEmbedded"]


def test_docs_qa_answers_without_a_model_by_its_fallback(arklex: Arklex) -> None:
    docs = arklex.folder / "texts"
    docs.mkdir()
    (docs / "tea.md").write_text("# Tea\nGreen tea wants water of 70 degrees. Black tea wants more.\n\n# Cups\nCups break.\n")
    (docs / "broken.md").write_bytes(b"\xff\xfe\x00")
    manifest = (
        (ROOT / "examples/docs-qa/docs-qa.yaml")
        .read_text()
        .replace("model: gpt-5-mini", "model: m, baseUrl: http://127.0.0.1:9")
    )
    arklex.write("docs-qa.yaml", manifest)
    arklex.write("docs_qa.py", (ROOT / "examples/docs-qa/docs_qa.py").read_text())
    run = ("run", "docs-qa.yaml", "--input", '{"folder": "texts"}', "--output", "json")
    document = arklex(*run, "--query", "How hot is water for green tea?").works().json
    assert "70 degrees" in document["output"]["answer"]
    assert document["output"]["sources"][0]["section"] == "Tea"
    assert document["tasks"]["answer"]["fallback"] is True
    assert len(document["tasks"]["read"]["errors"]) == 1
    nothing = arklex(*run, "--query", "Zanzibar").works().json
    assert nothing["output"] == {"answer": "None of these documents speaks of that.", "sources": []}
    assert nothing["tasks"]["answer"]["phase"] == "Skipped"


@pytest.mark.model
def test_the_demonstration(arklex: Arklex) -> None:
    (arklex.folder / "examples").symlink_to(ROOT / "examples")
    (arklex.folder / "docs").symlink_to(ROOT / "docs")
    command = [sys.executable, "-m", "arklex_runtime.demo"]
    done = subprocess.run(command, cwd=arklex.folder, env=arklex.env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ET.fromstring((arklex.folder / "build/demo.svg").read_text())
    run = arklex.only_run()
    assert f"show {run} --events" in done.stdout
    document = arklex("show", run, "--output", "json").works().json
    assert document["phase"] == "Succeeded"
    assert "fallback" not in document["tasks"]["answer"]
    assert document["output"]["answer"].strip() in done.stdout
