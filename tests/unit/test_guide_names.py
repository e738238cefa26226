"""Every class of the architecture guide is importable from ``arklex_runtime``, with the methods of its snippets."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import arklex_runtime

GUIDE = Path(__file__).parents[2] / "docs" / "architecture-guide.md"
# The guide calls these without showing their class.
CALLED = {
    "HealthChecker": ["mark_unhealthy"],
    "LoadBalancer": ["get_next_healthy"],
    "MemoryMonitor": ["get_memory_usage"],
    "Monitoring": ["record_execution"],
}
ALSO = ["ExecutionContext", "MemoryCache", "RedisCache", "SQLiteDatabase", "DatabaseCache", "WorkerNotFoundError"]
ALSO += ["ToolNotFoundError", "RateLimitExceeded", "AuthenticationError", "AuthorizationError", "ValidationError"]


def snippets() -> list[ast.ClassDef]:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return [node for block in blocks for node in ast.parse(block).body if isinstance(node, ast.ClassDef)]


def methods(owner: ast.ClassDef) -> dict[str, list[str]]:
    found = [node for node in owner.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node.name: [arg.arg for arg in node.args.args[1:]] for node in found if not node.name.startswith("_")}


@pytest.mark.parametrize("owner", snippets(), ids=lambda owner: owner.name)
def test_a_class_of_the_guide_has_its_methods_with_their_parameters(owner: ast.ClassDef) -> None:
    kind: Any = getattr(arklex_runtime, owner.name)
    for name, parameters in methods(owner).items():
        signature = inspect.signature(getattr(kind, name))
        assert list(signature.parameters)[1 : 1 + len(parameters)] == parameters, name


@pytest.mark.parametrize("owner", snippets(), ids=lambda owner: owner.name)
def test_a_class_of_the_guide_is_made_with_its_parameters(owner: ast.ClassDef) -> None:
    made = next(node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    given = [arg.arg for arg in made.args.args[1:]]
    assert list(inspect.signature(getattr(arklex_runtime, owner.name)).parameters)[: len(given)] == given


def test_what_the_guide_only_mentions_is_there_too() -> None:
    for name in (*ALSO, *CALLED):
        assert inspect.isclass(getattr(arklex_runtime, name))
    for name, called in CALLED.items():
        assert all(callable(getattr(getattr(arklex_runtime, name), method)) for method in called)


def test_all_names_what_the_table_holds() -> None:
    assert set(arklex_runtime.__all__) == {name for name in dir(arklex_runtime) if name in arklex_runtime._WHERE}
    with pytest.raises(AttributeError, match="Orchestratr"):
        _ = arklex_runtime.Orchestratr


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, arklex_runtime, arklex_runtime.workers; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    heavy = {"pydantic_ai", "openai", "aiohttp", "sqlalchemy", "structlog", "prometheus_client", "jwt"}
    assert not heavy & set(run.stdout.split())
