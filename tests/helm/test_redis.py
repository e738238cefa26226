"""The bundled Redis, started by the chart's own script with the chart's own configuration, where redis-server is installed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.helm.charts import one, render
from tests.services import free_port, server_folder, unprivileged

pytestmark = pytest.mark.redis

PASSWORDS = {"generated": "Zk3-_x9", "odd": "a b\"c\\d$e`f'g#h"}


class Started:
    """The container's files below a folder, its process, its port."""

    def __init__(self, folder: Path, password: str) -> None:
        self.folder, self.port, self.password = folder, free_port(), password
        data = one(render(), "ConfigMap", "arklex-redis")["data"]
        for name in ("etc", "data", "secret"):
            (folder / name).mkdir()
        for name, text in data.items():
            (folder / "etc" / name).write_text(self._here(text))
        with (folder / "etc" / "redis.conf").open("a") as configuration:
            configuration.write(f"port {self.port}\nbind 127.0.0.1\n")
        (folder / "secret" / "password").write_text(password)
        for path in (folder, *folder.rglob("*")):
            if user := unprivileged():
                shutil.chown(path, user)
        self.process = self._script("start.sh")

    def _here(self, text: str) -> str:
        for inside, outside in {"/etc/arklex": "etc", "/data": "data", "/var/run/arklex/redis": "secret"}.items():
            text = text.replace(inside, str(self.folder / outside))
        return text.replace("redis-cli ping", f"redis-cli -p {self.port} ping")

    def _script(self, name: str) -> subprocess.Popen[bytes]:
        command = ["sh", str(self.folder / "etc" / name)]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, user=unprivileged(), cwd=self.folder, stdout=log, stderr=log)

    def ping(self) -> int:
        """Run the probe; return its exit code."""
        return self._script("ping.sh").wait(30)

    def client(self) -> redis.Redis:
        """Return the administrator's connection."""
        return redis.Redis(port=self.port, password=self.password)

    def until_ready(self) -> None:
        """Wait as the startup probe does."""
        deadline = time.monotonic() + 60
        while self.ping() != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)


@pytest.fixture(params=PASSWORDS)
def started(request: pytest.FixtureRequest) -> Iterator[Started]:
    """Return a running Redis of the chart."""
    with server_folder() as folder:
        one = Started(folder, PASSWORDS[request.param])
        try:
            one.until_ready()
            yield one
        finally:
            one.process.kill()
            one.process.wait()


def test_it_asks_for_the_password_and_shows_it_nowhere(started: Started) -> None:
    with pytest.raises(redis.AuthenticationError), redis.Redis(port=started.port) as client:
        client.ping()
    with started.client() as client:
        assert client.ping()
        assert client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save") == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
        }
    arguments = Path(f"/proc/{started.process.pid}/cmdline").read_text()
    assert "redis-server" in arguments, "the script's process became the server's: it gets the signals"
    assert started.password not in arguments
    assert started.password not in Path(f"/proc/{started.process.pid}/environ").read_text()


def test_what_it_knew_survives_a_stop(started: Started) -> None:
    with started.client() as client:
        client.xadd("arklex:{team-a}:jobs:w", {"j": "1"})
    started.process.terminate()
    assert started.process.wait(30) == 0
    assert started.ping() != 0
    started.process = started._script("start.sh")
    started.until_ready()
    with started.client() as client:
        assert client.xlen("arklex:{team-a}:jobs:w") == 1
