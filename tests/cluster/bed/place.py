"""Where a bed lives: its name, its folders, its addresses, and what a machine must have to hold one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NODE = "node0"
NODE_ADDRESS = "198.18.0.1"
"""The node's only address (of a range that nobody routes): API server, DNS, metrics-server and test servers listen on it."""
PODS = "198.18.128.0/17"
POD_RANGE = "198.18.128.0/22"
SERVICES = "198.19.0.0/24"
DOMAIN = "cluster.local"
SERVER = f"https://{NODE_ADDRESS}:6443"

PACKAGES = {
    "bridge": "containernetworking-plugins",
    "buildah": "buildah",
    "busybox": "busybox-static",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ctr": "containerd",
    "debootstrap": "debootstrap",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "iptables": "iptables",
    "runc": "runc",
    "socat": "socat",
}
"""Programs that a bed takes from the system, with Debian's package of each."""

CNI_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))


@dataclass(frozen=True)
class Place:
    """A bed by name: its state folder, its cgroups and its processes are told from others by it."""

    name: str
    state: Path

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.pki / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Every request that the API server answered, a JSON document a line."""
        return self.state / "apiserver" / "audit.log"

    @property
    def containerd(self) -> Path:
        """The socket of the bed's own containerd."""
        return self.state / "containerd.sock"


def place() -> Place:
    """Return the bed of this user; ``ARKLEX_BED_NAME`` gives another beside it, ``ARKLEX_BED_STATE`` another folder."""
    name = os.environ.get("ARKLEX_BED_NAME", "arklex-bed")
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    chosen = os.environ.get("ARKLEX_BED_STATE")
    return Place(name, Path(chosen) if chosen else home / name)


def cni_plugins() -> Path | None:
    """Return the folder of the CNI plugins, None if there is none."""
    return next((folder for folder in CNI_PLUGINS if (folder / "bridge").exists()), None)


def unable() -> str | None:
    """Return why this machine can never hold a bed as this user, None if it can."""
    if sys.platform != "linux":
        return "a cluster bed needs Linux"
    if os.geteuid() != 0:
        return "a cluster bed needs root (it makes namespaces, mounts and cgroups)"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 else f"a cluster bed needs namespaces and mounts: {tried.stderr.strip()}"


def missing_packages() -> list[str]:
    """Return the Debian packages whose programs are not here."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    here = {name: shutil.which(name, path=path) is not None for name in PACKAGES} | {"bridge": cni_plugins() is not None}
    return sorted({PACKAGES[name] for name, found in here.items() if not found})
