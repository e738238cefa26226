"""The bed's programs, and files of other projects that tests need: what comes from which Go module, and where it lies.

Each module of ``modules/`` has its own folder in the cache, named by the digest of what determines the programs, so that a new
version of one rebuilds nothing else. The environment variable ``ARKLEX_BED_BIN`` names a folder that is looked at first.
"""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

MODULES = Path(__file__).parent / "modules"
KUBERNETES = "1.37.2"
VERSION = f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES}"

MONITORING = ("podmonitors", "prometheusrules", "servicemonitors")
"""Kinds of the Prometheus Operator that the chart has objects of."""


class ProgramMissing(LookupError):
    """A program of the bed is not built; the words say how to build it."""


@dataclass(frozen=True)
class Module:
    """A folder of ``modules/``: programs by name with their Go packages; ``minutes`` on two idle cores, nothing cached.

    ``files`` are copied by name out of the module ``holder`` that its go.mod requires.
    """

    name: str
    packages: dict[str, str]
    minutes: float
    ldflags: str = "-s -w"
    environment: dict[str, str] = field(default_factory=lambda: {"CGO_ENABLED": "0"})
    files: dict[str, str] = field(default_factory=dict)
    holder: str = ""

    @property
    def names(self) -> list[str]:
        """What it is to yield: its programs and files."""
        return [*self.packages, *self.files]

    @property
    def source(self) -> Path:
        """The folder of its go.mod and go.sum."""
        return MODULES / self.name

    @property
    def folder(self) -> Path:
        """Where its programs lie once built."""
        return cache() / f"{self.name}-{self.digest()}" / "bin"

    def digest(self) -> str:
        """Return what tells its programs from others: versions with their hashes, flags, the machine's kind."""
        parts = [self.ldflags, repr(sorted(self.packages.items())), repr(sorted(self.environment.items())), platform.machine()]
        parts += [repr(sorted(self.files.items())), self.holder] if self.files else []
        files = [(self.source / name).read_text() for name in ("go.mod", "go.sum")]
        return hashlib.sha256("\0".join([*parts, *files]).encode()).hexdigest()[:16]

    def missing(self) -> list[str]:
        """Return the names of its programs and files that are not there."""
        return [name for name in self.names if not any((place / name).is_file() for place in places(self))]


ALL = [
    Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, 0.5),
    Module(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")
        },
        7,
        f"-s -w {VERSION} -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37",
    ),
    Module("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}, 2.5),
    Module("metrics-server", {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"}, 2.5),
    Module("coredns", {"coredns": "github.com/coredns/coredns"}, 2),
    Module(
        "keda",
        {},
        0.1,
        files={
            f"keda-{kind}.yaml": f"config/crd/bases/keda.sh_{kind}.yaml" for kind in ("scaledobjects", "triggerauthentications")
        },
        holder="github.com/kedacore/keda/v2",
    ),
    Module(
        "prometheus-operator",
        {},
        0.1,
        files={
            f"monitoring-{kind}.yaml": f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
            for kind in MONITORING
        },
        holder="github.com/prometheus-operator/prometheus-operator",
    ),
]


def cache() -> Path:
    """Return the folder of everything the bed builds; ``ARKLEX_BED_CACHE`` or XDG's choose another."""
    if chosen := os.environ.get("ARKLEX_BED_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arklex-bed"


def places(module: Module) -> list[Path]:
    """Return the folders in which the module's programs are looked for, first to last."""
    chosen = os.environ.get("ARKLEX_BED_BIN")
    return [*([Path(chosen)] if chosen else []), module.folder]


def program(name: str) -> Path:
    """Return the path of a program or file; raises ProgramMissing."""
    for module in ALL:
        if name in module.names:
            for place in places(module):
                if (place / name).is_file():
                    return place / name
    raise ProgramMissing(f"{name} is not built: run python -m tests.cluster.bed build")
