"""``python -m arklex_runtime.demo``: answers a question about this repository's documents (``make demo``).

With ``--base-url`` any OpenAI-compatible model, with OPENAI_API_KEY OpenAI's; with neither the small bundled one, offline.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arklex_api.base import SecretKeyRef
from arklex_api.loader import Manifests
from arklex_api.worker import LLM
from arklex_runtime.cli.conduct import Order, Stage, run_manifests
from arklex_runtime.cli.failures import Refused, report
from arklex_runtime.cli.inputs import accepted_manifests, command
from arklex_runtime.cli.terminal import Terminal
from arklex_runtime.demo.model_server import MODEL, ModelServerError, start

MANIFEST = Path("examples/docs-qa/docs-qa.yaml")
PICTURE = Path("build/demo.svg")
HOSTED_MODEL = "gpt-5-mini"


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration in the current folder, the repository's; returns an exit code as ``arklex run`` does."""
    given = _arguments(argv)
    terminal = Terminal()
    try:
        if not MANIFEST.exists():
            raise Refused.of("", "WrongFolder", f"{MANIFEST} is not here: start the demonstration in the repository's folder")
        with _model(given, terminal) as llm:
            return _run(given, llm, terminal)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return report(error, terminal)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m arklex_runtime.demo", description="Ask this repository's documents.")
    parser.add_argument("question", nargs="?", help="by default the manifest's own")
    parser.add_argument("--folder", default="docs", help="Markdown files to read (docs)")
    parser.add_argument("--base-url", help="an OpenAI-compatible service; OPENAI_API_KEY is its key, if it wants one")
    parser.add_argument("--model", help=f"the service's model ({HOSTED_MODEL})")
    parser.add_argument("--db", default=os.environ.get("ARKLEX_DB"), help="the journal (that of every command)")
    return parser.parse_args(argv)


@contextmanager
def _model(given: argparse.Namespace, terminal: Terminal) -> Iterator[LLM]:
    """The model to use; a bundled one is served as long as the block lasts."""
    key = SecretKeyRef(name="openai", key="apiKey") if os.environ.get("OPENAI_API_KEY") else None
    if given.base_url or key:
        model = given.model or HOSTED_MODEL
        terminal.note(f"model: {model} at {given.base_url or 'OpenAI'}")
        yield LLM(provider="openai", model=model, base_url=given.base_url, api_key_secret_ref=key)
        return
    terminal.note("model: the small bundled one, offline (set OPENAI_API_KEY or give --base-url for another)")
    try:
        server = start("127.0.0.1", 0, 1)
    except ModelServerError as error:
        raise Refused.of("", "NoModel", str(error)) from error
    yield LLM(provider="openai", model=MODEL, base_url=f"{server.listening_address}/v1")
    del server


def _run(given: argparse.Namespace, llm: LLM, terminal: Terminal) -> int:
    manifests = accepted_manifests([str(MANIFEST)])
    assistant = manifests.workers["assistant"]
    spec = assistant.spec.model_copy(update={"llm": llm})
    manifests.workers["assistant"] = assistant.model_copy(update={"spec": spec})
    question = given.question or _own_question(manifests)
    terminal.note(f"question: {question}")
    order = Order(query=question, input=f'{{"folder": "{given.folder}"}}')
    stage = Stage(terminal, given.db, 4, manifests.secrets, end=lambda document: _show(document, manifests, given.db, terminal))
    return run_manifests(stage, manifests, order, [MANIFEST.parent.resolve()])


def _own_question(manifests: Manifests) -> str:
    run = manifests.graphs["docs-qa"].spec.run
    return (run.query if run else None) or "What is this?"


def _show(document: dict[str, Any], manifests: Manifests, db: str | None, terminal: Terminal) -> int:
    from arklex_api.plan import compile_graph
    from arklex_runtime.picture.adapter import diagram_of
    from arklex_runtime.picture.svg import render_svg

    diagram = diagram_of(compile_graph(manifests.graphs["docs-qa"].spec), "docs-qa", manifests.workers, document)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(render_svg(diagram), encoding="utf-8")
    output = document["output"]
    if output is not None:
        terminal.print(f"\n{output['answer'].strip()}\n")
        for source in output["sources"]:
            terminal.print(f"  from {source['file']}, {source['section']}")
    else:
        terminal.note(f"the run {document['phase'].lower()}: {(document['error'] or {}).get('message', '')}")
    arklex = Path(sys.executable).with_name("arklex")
    shown = os.path.relpath(arklex) if arklex.is_relative_to(Path.cwd()) else "arklex"
    words = command("show", document["run"], "--events", db=db).replace("arklex", shown, 1)
    terminal.print(f"\npicture of the run: {PICTURE}\nall about it:       {words}")
    return 0 if document["phase"] == "Succeeded" else 1


if __name__ == "__main__":
    sys.exit(main())
