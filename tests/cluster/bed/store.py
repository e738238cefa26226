"""What containerd keeps between two beds: images with their layers unpacked, which takes long, and nothing else."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.cluster.bed import processes, space
from tests.cluster.bed.place import Place
from tests.cluster.bed.programs import cache

NAME = "containerd"
MOST_IMAGES = 40
"""With more of them, what no one needs any more outweighs what is saved: all are forgotten."""
PATIENCE = 20.0


def root(place: Place) -> Path:
    """Return containerd's root folder."""
    return cache() / NAME / place.name


def settings(place: Place) -> Path:
    """Return the file of containerd's settings for a sweep: those of the bed, without the part for Kubernetes."""
    return place.state / "sweep.toml"


def sweep(place: Place) -> None:
    """Remove the containers of the bed before from the root; a root that cannot be swept is removed."""
    folder = root(place)
    if not folder.exists():
        return
    try:
        processes.start(place, NAME, space.inside(place, [NAME, "--config", str(settings(place))]))
        kept = _sweep(place)
    finally:
        processes.stop(place, NAME, PATIENCE)
    shutil.rmtree(folder / "io.containerd.grpc.v1.cri", ignore_errors=True)
    if not kept:
        shutil.rmtree(folder)


def _sweep(place: Place) -> bool:
    deadline = time.monotonic() + PATIENCE
    while space.ran(place, *ctr(place, "images", "list", "--quiet")).returncode != 0:
        if processes.pid(place, NAME) is None or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    images = space.ran(place, *ctr(place, "images", "list", "--quiet")).stdout.split()
    containers = space.ran(place, *ctr(place, "containers", "list", "--quiet")).stdout.split()
    if containers and space.ran(place, *ctr(place, "containers", "delete", *containers)).returncode != 0:
        return False
    return len(images) <= MOST_IMAGES


def ctr(place: Place, *arguments: str) -> list[str]:
    """Return a call of containerd's client."""
    return ["ctr", f"--address={place.containerd}", "--namespace=k8s.io", *arguments]
