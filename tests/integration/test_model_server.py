"""The demonstration's model server as a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.model


def test_a_port_that_is_taken_is_said_and_ends_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "arklex_runtime.demo.model_server", "--port", str(port)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)
    assert run.returncode == 3 and not run.stdout
    assert f"cannot start on 127.0.0.1:{port}" in run.stderr
