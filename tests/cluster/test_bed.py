"""The bed itself, by a second one beside that of the tests: it goes down whatever is broken, and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.bed import cgroups, cluster, processes, recipes, space, store
from tests.cluster.bed.place import Place

NAME = "arklex-bed-test"
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: asleep}}
spec: {{containers: [{{name: asleep, image: "{image}"}}]}}
"""


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Place]:
    """Return the place of a bed of the test's own."""
    found = Place(NAME, tmp_path / "state")
    yield found
    cluster.down(found)
    shutil.rmtree(store.root(found), ignore_errors=True)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that has nothing to do with a bed, but is called like a part of one."""
    with subprocess.Popen(["containerd", "600"], executable="/bin/sleep") as process:
        yield process
        process.kill()


def ready_with_a_pod(place: Place) -> None:
    assert [step.words for step in cluster.up(place)][-1] == "node node0 is ready"
    assert cluster.ailments(place) == []
    cluster.kubectl(place, "apply", "--filename=-", stdin=POD.format(image=recipes.pause()))
    waited = cluster.kubectl(place, "wait", "--for=condition=Ready", "pod/asleep", "--timeout=60s", timeout=70)
    assert waited.returncode == 0, waited.stderr


def leftovers(place: Place) -> list[str]:
    """Return what there still is of a bed, in words."""
    found = [f"folder {place.state}"] if place.state.exists() else []
    found += [f"cgroup {root / place.name}" for root in cgroups.hierarchies() if (root / place.name).exists()]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(place.state) in line]
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(place.state).encode() in (entry / "cmdline").read_bytes():
                found.append(f"process {entry.name}")
    return found


def test_up_again_changes_nothing_and_down_leaves_nothing(second: Place, bystander: subprocess.Popen[bytes]) -> None:
    hidden = {folder: Path(folder).exists() for folder in space.HIDDEN}
    ready_with_a_pod(second)
    holder = processes.pid(second, space.HOLDER)
    assert [step.words for step in cluster.up(second)] == ["it is up already"]
    assert processes.pid(second, space.HOLDER) == holder
    assert cluster.down(second) == []
    assert leftovers(second) == []
    assert hidden == {folder: Path(folder).exists() for folder in space.HIDDEN}
    assert bystander.poll() is None


def test_a_broken_bed_comes_up_anew_and_a_killed_api_server_comes_back(second: Place) -> None:
    ready_with_a_pod(second)
    containerd = processes.pid(second, "containerd")
    assert containerd is not None
    os.kill(containerd, signal.SIGSTOP)
    for name in (space.HOLDER, "apiserver", "kubelet"):
        number = processes.pid(second, name)
        assert number is not None
        os.kill(number, signal.SIGKILL)
    until_gone(second, space.HOLDER, "apiserver", "kubelet")
    assert cluster.ailments(second) == [f"{name} is not running" for name in (space.HOLDER, "apiserver", "kubelet")]
    ready_with_a_pod(second)
    before = processes.pid(second, "apiserver")
    cluster.restart(second, "apiserver")
    assert processes.pid(second, "apiserver") not in (None, before)
    assert cluster.kubectl(second, "get", "pod", "asleep", "--output=name").stdout.strip() == "pod/asleep"
    processes.stop(second, "etcd", 10, signal.SIGKILL)
    assert cluster.down(second) == []
    assert leftovers(second) == []


def until_gone(place: Place, *names: str) -> None:
    deadline = time.monotonic() + 30
    while any(processes.pid(place, name) for name in names):
        assert time.monotonic() < deadline
        time.sleep(0.02)
