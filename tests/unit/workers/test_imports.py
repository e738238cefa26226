"""Where handlers are found, and what is said when they are not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from arklex_api.problems import ManifestError
from arklex_api.worker import Worker
from arklex_runtime.security.secrets import SecretResolver
from arklex_runtime.workers import TaskContext, WorkerServices, build_worker, handler_path
from arklex_runtime.workers.imports import HandlerError, import_handler


def worker(type: str, **spec: object) -> Worker:
    document = {"apiVersion": "arklex.ai/v1alpha1", "kind": "Worker", "metadata": {"name": "w"}, "spec": {"type": type, **spec}}
    return Worker.model_validate(document)


def services() -> WorkerServices:
    return WorkerServices(secrets=SecretResolver({}, environ={}))


def test_the_manifests_folder_comes_before_the_current_one(tmp_path: Path) -> None:
    for folder in ("near", "far"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "greeting_handlers.py").write_text(f"def greet(inputs): return {folder!r}\n")
    for first, second in (("near", "far"), ("far", "near")):
        with handler_path([tmp_path / first, tmp_path / second]):
            built = build_worker(worker("custom", config={"handler": "greeting_handlers:greet"}), services())
            assert built.execute({}, TaskContext("r", "t")) == first
    assert "greeting_handlers" not in sys.modules and str(tmp_path / "near") not in sys.path


def test_packages_and_dotted_names_are_found_and_forgotten_with_their_submodules(tmp_path: Path) -> None:
    (tmp_path / "shop_pkg").mkdir()
    (tmp_path / "shop_pkg" / "__init__.py").write_text("")
    (tmp_path / "shop_pkg" / "orders.py").write_text("class Orders:\n    @staticmethod\n    def find(inputs): return 1\n")
    with handler_path([tmp_path]):
        assert import_handler("shop_pkg.orders:Orders.find")({}) == 1
    assert not [name for name in sys.modules if name.startswith("shop_pkg")]


@pytest.mark.parametrize(
    ("source", "handler", "words"),
    [
        (None, "absent_module:run", "no module 'absent_module' beside the manifest"),
        ("def greet(inputs): ...", "broken_module:gret", "did you mean 'greet'?"),
        ("import absent_dependency", "broken_module:run", "needs 'absent_dependency', which is not installed"),
        ("1/0", "broken_module:run", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "broken_module:run", "SystemExit: 3"),
        ("def (", "broken_module:run", "SyntaxError"),
        (None, "no colon", "is not written package.module:callable"),
        (None, "../evil:run", "is not written package.module:callable"),
    ],
)
def test_a_handler_that_cannot_be_imported_says_why(tmp_path: Path, source: str | None, handler: str, words: str) -> None:
    if source is not None:
        (tmp_path / "broken_module.py").write_text(source)
    with handler_path([tmp_path]), pytest.raises(HandlerError) as caught:
        import_handler(handler)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("manifest", "path", "words"),
    [
        (worker("rag"), "spec.type", "type 'rag' does not yet run embedded in this version: use custom or llm"),
        (worker("custom", config={"handler": "absent_module:run"}), "spec.config.handler", "no module 'absent_module'"),
    ],
)
def test_a_worker_that_cannot_be_built_names_the_field(manifest: Worker, path: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        build_worker(manifest, services())
    (problem,) = caught.value.problems
    assert problem.path == path and words in problem.message and "Worker 'w'" in problem.message
