"""The bed's namespaces: one for its network and one for its mounts, held by a process that does nothing else.

Both are gone with the bed's last process, and with them every interface, firewall rule and mount.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from tests.cluster.bed import cgroups, processes
from tests.cluster.bed.place import NODE_ADDRESS, Place

HOLDER = "holder"
HIDDEN = ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")
"""Folders whose names are fixed in the components: the bed sees its own ones there, never the system's."""

SETUP = """
set -eu
mount --make-rshared /
for folder in {hidden}; do
  mkdir -p "{state}/own$folder"
  mount --bind "{state}/own$folder" "$folder"
done
ip link set lo up
ip link add node0 type veth peer name node0p
ip link set node0p up
ip address add {address}/24 dev node0
ip link set node0 up
ip route add default dev node0
touch "{state}/space-made"
exec sleep infinity
"""


def create(place: Place) -> None:
    """Make the namespaces, and wait until they are furnished."""
    made = place.state / "made-folders"
    absent = [folder for folder in HIDDEN if not Path(folder).exists()]
    made.write_text("".join(f"{folder}\n" for folder in absent))
    for folder in absent:
        Path(folder).mkdir(parents=True)
    script = SETUP.format(hidden=" ".join(HIDDEN), state=place.state, address=NODE_ADDRESS)
    command = ["unshare", "--net", "--mount", "--propagation", "slave", "sh", "-c", script]
    processes.start(place, HOLDER, command)
    deadline = time.monotonic() + 30
    while not (place.state / "space-made").exists():
        if processes.pid(place, HOLDER) is None or time.monotonic() > deadline:
            raise processes.NotStarted(place, HOLDER)
        time.sleep(0.02)


def inside(place: Place, command: Iterable[str], mounts: bool = True) -> list[str]:
    """Return the command as it must be called to run in the bed's network, and with its mounts unless told otherwise."""
    holder = processes.pid(place, HOLDER)
    if holder is None:  # any other process of the bed is in the same namespaces
        holder = next(iter(sorted(cgroups.processes(place.name))), None)
    if holder is None:
        raise processes.NotStarted(place, HOLDER)
    return ["nsenter", f"--target={holder}", "--net", *(["--mount"] if mounts else []), f"--wd={Path.cwd()}", "--", *command]


def forget(place: Place) -> None:
    """Remove the empty folders that the namespaces needed."""
    with contextlib.suppress(FileNotFoundError):
        for folder in (place.state / "made-folders").read_text().split():
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def ran(place: Place, *command: str, timeout: float = 120, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in the bed's namespaces."""
    words = inside(place, command)
    return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
