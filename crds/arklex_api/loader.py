"""Manifest files to models, by the rules of ``kubectl apply`` (semantics.md, "Manifests"): lint and run read with it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from arklex_api.base import API_VERSION, GROUP, JSON, KubeModel
from arklex_api.messages import excerpt, kind_of, problems_of
from arklex_api.paths import Marks, Steps, line_of, parse, render
from arklex_api.problems import Problem
from arklex_api.run import TaskGraphRun
from arklex_api.taskgraph import TaskGraph
from arklex_api.worker import Worker
from arklex_api.yamlread import read_yaml

Model = TypeVar("Model", bound=KubeModel)

HARMLESS = frozenset({
    "ClusterRole", "ClusterRoleBinding", "ConfigMap", "CronJob", "CustomResourceDefinition", "DaemonSet", "Deployment",
    "HorizontalPodAutoscaler", "Ingress", "Job", "LimitRange", "Namespace", "NetworkPolicy", "PersistentVolume",
    "PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "ResourceQuota", "Role", "RoleBinding", "Service", "ServiceAccount",
    "StatefulSet", "StorageClass",
})  # fmt: skip
"""Kinds of Kubernetes that may stand beside ours; they mean nothing to a run and are passed over."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file, as read. ``path`` is where it stands in its document (within a List)."""

    kind: str
    name: str
    value: dict[str, JSON]
    marks: Marks
    file: str
    path: Steps = ()

    def problem(self, steps: Steps, reason: str, message: str) -> Problem:
        """A Problem of the field at ``steps``, with its file and line."""
        return Problem(render((*self.path, *steps)), reason, message, self.file, line_of(self.marks, steps))

    def placed(self, problem: Problem) -> Problem:
        """``problem``, whose path is below this object, with file and line."""
        return self.problem(parse(problem.path), problem.reason, problem.message)


@dataclass(slots=True)
class Manifests:
    """All objects of some files, by name, and what is wrong with them. Values of ``secrets`` appear nowhere else."""

    workers: dict[str, Worker] = field(default_factory=dict)
    graphs: dict[str, TaskGraph] = field(default_factory=dict)
    runs: dict[str, TaskGraphRun] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    _by_name: dict[tuple[str, str], Document] = field(default_factory=dict)

    def add(self, document: Document) -> None:
        """Keep ``document``; of two with one name the first is the one that ``document()`` gives."""
        self.documents.append(document)
        self._by_name.setdefault((document.kind, document.name), document)

    def document(self, kind: str, name: str) -> Document:
        """The object a model came from; KeyError if there is none."""
        return self._by_name[kind, name]


def load_text(text: str | bytes, file: str = "-") -> Manifests:
    """The manifests in ``text``. Never raises for bad content: see ``problems``."""
    manifests = Manifests()
    _read(manifests, text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text, file)
    return _sorted(manifests)


def load_files(paths: Iterable[str | Path]) -> Manifests:
    """The manifests of all ``paths``, together; a folder gives its ``*.yaml``, ``*.yml`` and ``*.json``, not deeper.

    A file that cannot be read is a Problem (Unreadable).
    """
    manifests = Manifests()
    for path in paths:
        for each in _files(Path(path)):
            try:
                data = each.read_bytes()
            except OSError as error:
                manifests.problems.append(Problem("", "Unreadable", error.strerror or str(error), str(each)))
            else:
                _read(manifests, data, str(each))
    return _sorted(manifests)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml", ".json"))


def _sorted(manifests: Manifests) -> Manifests:
    manifests.problems = sort_problems(manifests.problems)
    return manifests


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """By file, line and path, each once."""
    return sorted(dict.fromkeys(problems), key=lambda p: (p.file or "", p.line or 0, p.path, p.message))


def _read(manifests: Manifests, data: bytes, file: str) -> None:
    sources, problems = read_yaml(data, file)
    manifests.problems += problems
    for source in sources:
        _accept(manifests, source.value, source.marks, file, ())


def _accept(manifests: Manifests, value: JSON, marks: Marks, file: str, path: Steps) -> None:
    """Adds one object, or what is wrong with it."""
    if not isinstance(value, dict):
        message = f"must be an object with apiVersion, kind, metadata and spec, not {kind_of(value)}"
        manifests.problems.append(Problem(render(path), "NotAnObject", message, file, marks[0]))
        return
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    document = Document(str(value.get("kind")), name if isinstance(name, str) else "", value, marks, file, path)
    problem = _header(document)
    if problem is not None:
        manifests.problems.append(problem)
    elif document.value["apiVersion"] == "v1" and document.kind == "List":
        _accept_list(manifests, document)
    elif document.value["apiVersion"] == "v1" and document.kind == "Secret":
        _add_secret(manifests, document)
    elif document.value["apiVersion"] == API_VERSION:
        _add(manifests, document)


def _header(document: Document) -> Problem | None:
    """What is wrong with apiVersion and kind, if anything."""
    for key in ("apiVersion", "kind"):
        if not isinstance(document.value.get(key), str) or not document.value[key]:
            return document.problem((key,), "Required", f"{key} is required: a manifest begins with apiVersion and kind")
    version, kind = document.value["apiVersion"], document.kind
    ours = ("Worker", "TaskGraph", "TaskGraphRun")
    if version == API_VERSION and kind in ours:
        return None
    if version.partition("/")[0] == GROUP or kind in ours:
        if kind in ours:
            return document.problem(
                ("apiVersion",), "UnsupportedVersion", f"{excerpt(version)} is not served: write {API_VERSION}"
            )
        return document.problem(("kind",), "UnsupportedKind", f"{excerpt(kind)} is not one of {', '.join(ours)}")
    if (version == "v1" and kind in ("List", "Secret")) or kind in HARMLESS:
        return None
    return document.problem(
        ("kind",), "UnsupportedKind", f"kind {excerpt(kind)} of {excerpt(version)} means nothing here: remove it"
    )


def _accept_list(manifests: Manifests, document: Document) -> None:
    items = document.value.get("items")
    if not isinstance(items, list):
        manifests.problems.append(document.problem(("items",), "Required", "a List holds its objects in items"))
        return
    marks = (document.marks[1] or {})["items"][1] or {}
    for index, item in enumerate(items):
        _accept(manifests, item, marks[index], document.file, (*document.path, "items", index))


def _add(manifests: Manifests, document: Document) -> None:
    if document.kind == "Worker":
        _keep(manifests, document, Worker, manifests.workers)
    elif document.kind == "TaskGraph":
        _keep(manifests, document, TaskGraph, manifests.graphs)
    else:
        _keep(manifests, document, TaskGraphRun, manifests.runs)


def _keep(manifests: Manifests, document: Document, model: type[Model], into: dict[str, Model]) -> None:
    manifests.add(document)
    try:
        loaded = model.model_validate(document.value, by_alias=True, by_name=False)
    except ValidationError as error:
        manifests.problems += [document.problem(*found) for found in problems_of(error, model)]
        return
    if document.name in into:
        _duplicate(manifests, document)
    else:
        into[document.name] = loaded


def _duplicate(manifests: Manifests, document: Document) -> None:
    first = manifests.document(document.kind, document.name)
    message = f"{document.kind} {document.name!r} is defined twice, first in {first.file} on line {first.marks[0]}"
    manifests.problems.append(document.problem(("metadata", "name"), "DuplicateObject", message))


def _add_secret(manifests: Manifests, document: Document) -> None:
    """Kubernetes' Secret: ``data`` in base64, ``stringData`` over it as is. Messages name keys, never values."""
    if not document.name:
        manifests.problems.append(document.problem(("metadata", "name"), "Required", "metadata.name is required"))
        return
    values: dict[str, str] = {}
    for part in ("data", "stringData"):
        entries = document.value.get(part)
        if entries is not None and not isinstance(entries, dict):
            manifests.problems.append(document.problem((part,), "Invalid", "must be a map of keys to text"))
            continue
        for key, value in (entries or {}).items():
            text = _decoded(value) if part == "data" else value
            if isinstance(text, str):
                values[key] = text
            else:
                wanted = "UTF-8 text in base64 (plain text goes in stringData)" if part == "data" else "text: quote it"
                manifests.problems.append(document.problem((part, key), "Invalid", f"must be {wanted}"))
    if document.name in manifests.secrets:
        _duplicate(manifests, document)
        return
    manifests.add(Document("Secret", document.name, {}, document.marks, document.file, document.path))
    manifests.secrets[document.name] = values


def _decoded(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode("".join(value.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
