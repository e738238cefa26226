"""A Service of a cluster from outside it: kubectl's port-forward, begun anew when the pod behind it has gone."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO

from tests.cluster.kube import Kube, KubectlFailed

PATIENCE = 30.0
_LISTENS = re.compile(r"Forwarding from (127\.0\.0\.1:\d+) ")


@dataclass
class Forward:
    """A port of this machine's loopback that leads to ``port`` of a Service."""

    kube: Kube
    service: str
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _address: str = field(default="", init=False)

    def address(self) -> str:
        """Return ``host:port``, another one after the forward has ended. Raises KubectlFailed where no pod answers."""
        if self._process is None or self._process.poll() is not None:
            words = (f"--namespace={self.kube.namespace}", "port-forward", f"service/{self.service}", f":{self.port}")
            with tempfile.TemporaryFile("w+") as log:
                self._process = subprocess.Popen([*self.kube.command, *words], stdout=log, stderr=log)
                self._address = self._listening(self._process, log)
        return self._address

    def _listening(self, process: subprocess.Popen[bytes], log: IO[str]) -> str:
        deadline = time.monotonic() + PATIENCE
        while True:
            ended = process.poll() is not None or time.monotonic() > deadline
            log.seek(0)
            said = log.read()
            if found := _LISTENS.search(said):
                return found[1]
            if ended:
                self.close()
                raise KubectlFailed(f"kubectl port-forward service/{self.service}: {said.strip() or 'no word'}")
            time.sleep(0.05)

    def close(self) -> None:
        """End it; the next ``address`` begins another."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
