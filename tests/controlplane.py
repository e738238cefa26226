"""A real etcd and kube-apiserver on the loopback, without nodes: for tests of what speaks to a cluster's API.

No pod ever runs here, and without ``controllers`` nothing makes Pods of Deployments, counts replicas or deletes what is owned.
An APIService reaches a server of the test's through a Service of type ExternalName ``localhost`` and a port of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.cluster.bed import components
from tests.cluster.bed.pki import Authority
from tests.cluster.bed.programs import program
from tests.services import free_port

CRDS = Path(__file__).parents[1] / "crds"
SERVICES = "198.19.0.0/24"
PATIENCE = 180.0
"""Seconds after which a server that should be ready will not be."""

FAST_HPA = {
    "horizontal-pod-autoscaler-sync-period": "1s",
    "horizontal-pod-autoscaler-initial-readiness-delay": "1s",
    "horizontal-pod-autoscaler-cpu-initialization-period": "1s",
}
"""Flags of kube-controller-manager for tests that wait for an HPA."""


class ControlPlane:
    """The servers' ports and files; stopping and starting the API server keeps its port and data.

    More flags by name: ``apiserver`` of kube-apiserver, ``controllers`` of kube-controller-manager (None: it does not run).
    """

    def __init__(self, folder: Path, apiserver: Mapping[str, object], controllers: Mapping[str, object] | None) -> None:
        self.folder = folder
        self.url = f"https://127.0.0.1:{free_port()}"
        self.audit_log = folder / "audit.log"
        self._etcd_url = f"http://127.0.0.1:{free_port()}"
        self._authority = Authority(folder / "pki")
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._controllers = controllers
        values: dict[str, object] = {"endpoint-reconciler-type": "none", **apiserver}
        port = int(self.url.rsplit(":", 1)[1])
        self._command = components.apiserver(self._authority, folder, self._etcd_url, "127.0.0.1", port, SERVICES, values)
        self.kubeconfig = self._authority.kubeconfig("admin", self.url)

    def start(self) -> None:
        """Start everything, and wait until the project's CRDs are established and the controllers, if wanted, work."""
        peer = f"http://127.0.0.1:{free_port()}"
        self._start("etcd", components.etcd(self.folder / "etcd", self._etcd_url, peer))
        self.start_apiserver()
        self.add_crds(*CRDS.glob("*.yaml"))
        if self._controllers is not None:
            values = {"secure-port": 0, **self._controllers}
            self._start("controllers", components.controller_manager(self._authority, self.url, values))
            self._until("controllers", lambda: "default" in self.kubectl("get", "serviceaccounts", "--output=name"))

    def start_apiserver(self) -> None:
        """Start the API server again, and wait until it is ready."""
        self._start("apiserver", self._command)
        self._until("apiserver", self.ready)

    def stop_apiserver(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Stop the API server, at once unless told otherwise; port and data stay."""
        self._stop("apiserver", how)

    def pause_apiserver(self, paused: bool) -> None:
        """Freeze the API server (connections stay open, nothing answers), or let it go on."""
        self._running["apiserver"].send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def stop(self) -> None:
        """End everything."""
        for name in reversed(list(self._running)):
            self._stop(name, signal.SIGKILL)

    def ready(self) -> bool:
        """Return whether the API server says it is, within 10 seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._kubectl(["get", "--raw", "/readyz"], None, self.kubeconfig, 10).returncode == 0
        return False

    def kubectl(self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """Run kubectl, as the administrator unless told otherwise; return what it prints. Raises AssertionError."""
        done = self._kubectl(arguments, stdin, kubeconfig or self.kubeconfig, 180)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add_crds(self, *files: Path) -> None:
        """Apply CustomResourceDefinitions, and wait until they are served."""
        named = [f"--filename={file}" for file in files]
        self.kubectl("apply", "--server-side", "--force-conflicts", *named)
        self.kubectl("wait", "--for=condition=Established", "--timeout=150s", *named)

    def user(self, name: str, *groups: str) -> Path:
        """Return the kubeconfig of a user with a certificate, without any right of its own."""
        self._authority.issue(f"user-{name}", name, groups)
        return self._authority.kubeconfig(f"user-{name}", self.url)

    def service_account(self, namespace: str, name: str) -> Path:
        """Return the kubeconfig of a user that RBAC takes for this ServiceAccount."""
        user, groups = (
            f"system:serviceaccount:{namespace}:{name}",
            ("system:serviceaccounts", f"system:serviceaccounts:{namespace}"),
        )
        self._authority.issue(f"account-{namespace}-{name}", user, groups)
        return self._authority.kubeconfig(f"account-{namespace}-{name}", self.url)

    def log(self, name: str) -> str:
        """Return the last 4,000 bytes that ``etcd``, ``apiserver`` or ``controllers`` printed."""
        return (self.folder / f"{name}.log").read_bytes()[-4000:].decode(errors="replace")

    def _kubectl(
        self, arguments: Sequence[str], stdin: str | None, kubeconfig: Path, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        command = [str(program("kubectl")), f"--kubeconfig={kubeconfig}", f"--cache-dir={self.folder / 'cache'}", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)

    def _until(self, name: str, done: Callable[[], bool]) -> None:
        """Wait for what a server is to bring about; fails at once, with what it printed, when it has ended."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert self._running[name].poll() is None and time.monotonic() < deadline, f"{name}: {self.log(name)}"
            time.sleep(0.1)

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
            self._running[name] = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def _stop(self, name: str, how: signal.Signals) -> None:
        if process := self._running.pop(name, None):
            process.send_signal(how)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def control_plane(
    apiserver: Mapping[str, object] | None = None, controllers: Mapping[str, object] | None = None
) -> Iterator[ControlPlane]:
    """Run an API server of its own, with the CRDs of ``crds/``; see ControlPlane for the parameters."""
    with tempfile.TemporaryDirectory(prefix="arklex-", ignore_cleanup_errors=True) as name:
        plane = ControlPlane(Path(name), apiserver or {}, controllers)
        try:
            plane.start()
            yield plane
        finally:
            plane.stop()
