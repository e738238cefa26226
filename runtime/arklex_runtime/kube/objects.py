"""What the API server has, parsed: the newest that the watches told, by kind, namespace and name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar, cast

from arklex_api.base import KubeModel
from arklex_api.objects import read_object
from arklex_api.problems import ManifestError
from arklex_api.run import TaskGraphRun
from arklex_api.taskgraph import TaskGraph
from arklex_api.versions import RERUN, version_of
from arklex_api.worker import Worker
from arklex_runtime.kube.api import GRAPHS, KINDS, RUNS, WORKERS, Kind, Object
from arklex_runtime.observability.logs import get_logger

Model = TypeVar("Model", bound=KubeModel)
Name: TypeAlias = tuple[str, str]
"""(namespace, name)."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[Model]):
    """One object. ``model`` is None for one that this version cannot read; ``problem`` then says why.

    ``status`` is as the API server has it; ``version`` its resourceVersion; ``model`` is without status. ``owners`` are the
    UIDs of what it is deleted with, ``created`` is its creationTimestamp, ``digest`` a TaskGraph's version of ``spec.run``.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    version: str
    model: Model | None
    problem: str
    status: dict[str, Any]
    annotations: dict[str, str]
    created: str
    owners: tuple[str, ...]
    digest: str

    @property
    def key(self) -> Name:
        """(namespace, name)."""
        return self.namespace, self.name

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """The status's conditions."""
        return list(self.status.get("conditions") or [])

    def condition(self, kind: str) -> dict[str, Any] | None:
        """The condition of this type, if it was judged for this generation."""
        found = next((each for each in self.conditions if each.get("type") == kind), None)
        return found if found and found.get("observedGeneration") == self.generation else None


Run: TypeAlias = Entry[TaskGraphRun]
Graph: TypeAlias = Entry[TaskGraph]
Pool: TypeAlias = Entry[Worker]


class Objects:
    """The cache. Only ``put`` and ``remove`` change it."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[Name, Entry[Any]]] = {kind.name: {} for kind in KINDS}
        self._log = get_logger("arklex.kube")

    def put(self, kind: Kind, given: Object) -> tuple[Entry[Any], Entry[Any] | None]:
        """Take an object in; returns it and what was known under its name."""
        known = self._kinds[kind.name]
        metadata = given["metadata"]
        key = (str(metadata.get("namespace") or "default"), str(metadata["name"]))
        before = known.get(key)
        uid, generation = str(metadata["uid"]), int(metadata.get("generation") or 0)
        if before is not None and before.uid == uid and _older(str(metadata["resourceVersion"]), before.version):
            return before, before
        if before is not None and (before.uid, before.generation) == (uid, generation):
            model, problem = before.model, before.problem
        else:
            model, problem = self._read(kind, given)
        version, status = str(metadata["resourceVersion"]), given.get("status") or {}
        owners = tuple(str(owner.get("uid")) for owner in metadata.get("ownerReferences") or ())
        annotations, created = metadata.get("annotations") or {}, str(metadata.get("creationTimestamp") or "")
        digest = _version_of(kind, given, annotations, before if before is not None and before.model is model else None)
        entry = Entry(*key, uid, generation, version, model, problem, status, annotations, created, owners, digest)
        known[key] = entry
        return entry, before

    def _read(self, kind: Kind, given: Object) -> tuple[KubeModel | None, str]:
        try:
            return read_object(kind.model, given), ""
        except ManifestError as error:
            problem = str(error)[:1024]
        except RecursionError:
            problem = "spec: lists and maps nest too deep"
        metadata = given["metadata"]
        self._log.warning(
            "object left out: this version cannot read it",
            kind=kind.name,
            namespace=metadata.get("namespace"),
            name=metadata.get("name"),
            problem=problem,
        )
        return None, problem

    def remove(self, kind: Kind, namespace: str, name: str, uid: str | None = None) -> Entry[Any] | None:
        """Forget an object, if it is still the one with this UID; returns it."""
        known = self._kinds[kind.name]
        entry = known.get((namespace, name))
        if entry is None or (uid is not None and entry.uid != uid):
            return None
        return known.pop((namespace, name))

    def among(self, kind: Kind, namespace: str | None) -> list[Entry[Any]]:
        """All objects of a kind, of one namespace or of all."""
        return [entry for entry in self._kinds[kind.name].values() if namespace in (None, entry.namespace)]

    def run(self, namespace: str, name: str) -> Run | None:
        """One TaskGraphRun."""
        return self._kinds[RUNS.name].get((namespace, name))

    def graph(self, namespace: str, name: str) -> Graph | None:
        """One TaskGraph."""
        return self._kinds[GRAPHS.name].get((namespace, name))

    def runs(self) -> Iterator[Run]:
        """All TaskGraphRuns."""
        return iter(cast("list[Run]", list(self._kinds[RUNS.name].values())))

    def graphs(self) -> Iterator[Graph]:
        """All TaskGraphs."""
        return iter(cast("list[Graph]", list(self._kinds[GRAPHS.name].values())))

    def readable(self, kind: Kind, namespace: str) -> dict[str, Any]:
        """The models of one namespace, by name."""
        return {entry.name: entry.model for entry in self.among(kind, namespace) if entry.model is not None}

    def pool(self, namespace: str, name: str) -> Pool | None:
        """One Worker."""
        return self._kinds[WORKERS.name].get((namespace, name))


def _older(version: str, known: str) -> bool:
    """Whether a watch is behind what a write of ours has answered already; versions are comparable numbers (KEP-5504)."""
    return version.isdecimal() and known.isdecimal() and int(version) < int(known)


def _version_of(kind: Kind, given: Object, annotations: dict[str, str], same: Entry[Any] | None) -> str:
    """A TaskGraph's version; ``same`` is what was known of this very spec."""
    if kind is not GRAPHS:
        return ""
    rerun = annotations.get(RERUN)
    if same is not None and same.annotations.get(RERUN) == rerun:
        return same.digest
    try:
        return version_of(given.get("spec") or {}, rerun)
    except RecursionError:
        return ""
