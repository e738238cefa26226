"""The runtime and the metrics API with the chart's environment and accounts: they become ready, and nothing is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.helm.charts import NAMESPACE, case, one
from tests.services import RedisServer, free_port

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]

COMMANDS = {
    "runtime": ["-m", "arklex_runtime.cli", "runtime"],
    "metrics": ["-c", "from arklex_operator.metrics.main import main; main()"],
}
KINDS = {"runtime": "StatefulSet", "metrics": "Deployment"}


@pytest.mark.parametrize("component", COMMANDS)
def test_a_process_is_ready_with_what_the_chart_tells_it(
    plane: ControlPlane, redis_process: RedisServer, tmp_path: Path, component: str
) -> None:
    (container,) = one(case("default"), KINDS[component], f"arklex-{component}")["spec"]["template"]["spec"]["containers"]
    told = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
    for name in ("password", "token"):
        (tmp_path / name).write_text("" if name == "password" else "a-token-of-the-door-that-is-long-enough")
    kubeconfig = str(plane.service_account(NAMESPACE, f"arklex-{component}"))
    ready, door = free_port(), free_port()
    here = {
        "POD_NAME": f"arklex-{component}-0",
        "POD_NAMESPACE": NAMESPACE,
        "KUBECONFIG": kubeconfig,
        "ARKLEX_KUBECONFIG": kubeconfig,
        "ARKLEX_REDIS_URL": redis_process.url,
        "ARKLEX_REDIS_PASSWORD_FILE": str(tmp_path / "password"),
        "ARKLEX_DOOR_TOKEN_FILE": str(tmp_path / "token"),
        "ARKLEX_JOURNAL_URL": f"sqlite:///{tmp_path / 'journal.db'}",
        "ARKLEX_DOOR_PORT": str(door),
        "ARKLEX_METRICS_PORT": str(ready),
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **told, **here}
    log = tmp_path / "log"
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, *COMMANDS[component]], env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 90
        while not _ready(ready):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-6000:]
            time.sleep(0.2)
    finally:
        process.terminate()
        code = process.wait(60)
        plane.kubectl("delete", "apiservice", "v1beta1.external.metrics.k8s.io", "--ignore-not-found")
    assert code == 0, log.read_text()[-6000:]
    assert "forbidden" not in log.read_text().lower()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
