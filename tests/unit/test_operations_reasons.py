"""docs/operations.md explains every condition, reason and event that the code can say, and no others."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
_SAYS = {"Condition", "Verdict", "Trouble", "Found", "Problem", "_problem", "_condition", "Say", "say", "ScheduleProblem"}
"""Callables that make a condition, a reason or an event."""
_WORD = re.compile(r"(?:[A-Z][a-z]+)+")
_FILES_ONLY = {"loader.py", "yamlread.py"}
"""Modules whose problems are those of files: an object comes from the API server."""
_ALSO = ("graphs.py", "messages.py", "expressions/errors.py")
"""Modules of arklex_api that hand their reasons on as tuples and attributes."""
_OTHER = {
    "Create Delete Scale Schedule Validate Normal Warning",  # what an event is about
    "True False Unknown Run Missing Replace Opaque Model TaskGraph TaskGraphRun Worker",
    "Pod Secret ConfigMap Progressing PodScheduled ReplicaFailure ProgressDeadlineExceeded ContainerCreating PodInitializing",
    "CrashLoopBackOff CreateContainerConfigError CreateContainerError RunContainerError ErrImageNeverPull ErrImagePull",
    "ImageInspectError ImagePullBackOff InvalidImageName",  # what Kubernetes says of pods: we read these
}
_NOT_LITERAL = {"Static", "Off", "RunSucceeded", "RunCancelled", "SecretMissing", "ConfigMapMissing", "FailedGetExternalMetric"}
"""Reasons put together of parts, and one of the HPA's own that the document gives as an example."""


def _words(tree: ast.AST) -> set[str]:
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str) and _WORD.fullmatch(value)}


def _called(tree: ast.AST) -> set[str]:
    functions = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in functions}


def _classes(tree: ast.AST) -> set[str]:
    """The reasons of exceptions: class attributes called ``reason``."""
    bodies = (line for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for line in node.body)
    return {word for line in bodies if isinstance(line, ast.Assign) and "reason" in ast.dump(line) for word in _words(line)}


@functools.cache
def _said() -> set[str]:
    """Every word for machines in a module that says something in conditions or events."""
    found: set[str] = set()
    for part in ("operator/arklex_operator", "runtime/arklex_runtime/kube", "crds/arklex_api"):
        for path in (ROOT / part).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if path.name not in _FILES_ONLY and (_called(tree) & _SAYS or str(path).endswith(_ALSO)):
                found |= _words(tree)
            if path.name == "catalog.py":
                found |= _classes(tree)
    return found - set(" ".join(_OTHER).split())


def _section(title: str) -> str:
    return DOCUMENT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


EXPLAINED = _section("Conditions") + _section("Events") + _section("Columns")


def test_every_word_for_machines_is_explained() -> None:
    assert [word for word in sorted(_said()) if not re.search(rf"\b{word}\b", EXPLAINED)] == []


def test_no_reason_is_explained_that_is_never_said() -> None:
    cells = re.findall(r"^\|[^|]*\|[^|]*\|([^|]*)\|[^|]*\|$", _section("Conditions"), re.M)
    reasons = {word for cell in cells for word in _WORD.findall(cell.replace("as PodsHealthy", ""))}
    assert reasons - _said() - _NOT_LITERAL - {"Succeeded", "Failed", "Cancelled", "Pending", "Running"} == set()
