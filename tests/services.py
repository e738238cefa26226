"""Real servers for tests: PostgreSQL and Redis as processes on the loopback, as plain context managers."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis

PORTS = range(15_000, 30_000)
"""Below those that outgoing connections are given, so that none of them takes a port between its choice and its use."""


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no free port was found from {PORTS.start} to {PORTS.stop}")


def postgres_programs() -> Path | None:
    """Return the folder of the newest installed PostgreSQL's programs, or None."""
    installed = [path for path in Path("/usr/lib/postgresql").glob("*/bin/postgres") if path.exists()]
    if installed:
        return max(installed, key=lambda path: float(re.sub(r"[^\d.]", "", path.parts[-3]) or 0)).parent
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else None


def unprivileged() -> str | None:
    """Return the user that servers run as when the tests run as root (PostgreSQL refuses root), else None."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise LookupError("no unprivileged user to run a server as")


@dataclass
class PostgresServer:
    """A PostgreSQL server with its data in ``folder``; stop, kill and start keep port and data.

    ``address`` is where others reach it, besides the loopback; anybody who does may use it. ``fsync`` is PostgreSQL's setting.
    """

    folder: Path
    programs: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    address: str = "127.0.0.1"
    fsync: str = "off"

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.programs / program), *arguments]
        return subprocess.run(command, user=unprivileged(), cwd=self.folder, capture_output=True, text=True, check=False)

    def create(self) -> None:
        """Make the data folder; fast, since only processes die in tests, never the machine."""
        done = self._run("initdb", "-D", str(self.folder / "data"), "-U", "arklex", "-A", "trust", "-E", "UTF8", "--no-sync")
        assert done.returncode == 0, done.stderr
        with (self.folder / "data/pg_hba.conf").open("a") as rules:
            rules.write("host all all 0.0.0.0/0 trust\n")

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = {
            "listen_addresses": ",".join(dict.fromkeys(["127.0.0.1", self.address])),
            "unix_socket_directories": str(self.folder),
            "fsync": self.fsync,
            "max_connections": "100",
            "shared_buffers": "32MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, user=unprivileged(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port)).returncode != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop: SIGQUIT at once without a checkpoint ("immediate"), SIGINT in order ("fast")."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def kill(self) -> None:
        """Kill the postmaster and all its processes (SIGKILL), and wait until none is left: they hold the shared memory."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.process.kill()
        self.process.wait()
        self.process = None
        for child in map(int, children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while any(_lives(child) for child in children):
            assert time.monotonic() < deadline, f"some of {children} do not die"
            time.sleep(0.01)

    def kill_backend(self) -> None:
        """Kill one connection's process (SIGKILL): the server then ends all others, recovers, and goes on."""
        found = self.psql("SELECT pid FROM pg_stat_activity WHERE application_name = 'arklex' ORDER BY random() LIMIT 1")
        os.kill(int(found), signal.SIGKILL)

    def psql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement, return what psql prints; a server that recovers is waited for."""
        words = ("psql", "-qAtX", "-h", "127.0.0.1", "-p", str(self.port), "-U", "arklex", "-c", statement, database)
        deadline = time.monotonic() + 60
        while (done := self._run(*words)).returncode != 0:
            recovers = any(each in done.stderr for each in ("not yet accepting", "starting up", "recovery mode"))
            assert recovers and time.monotonic() < deadline, done.stderr
            time.sleep(0.05)
        return done.stdout.strip()

    def database(self, name: str) -> str:
        """Make an empty database, return its URL."""
        self.psql(f'CREATE DATABASE "{name}"')
        return f"postgresql+asyncpg://arklex@{self.address}:{self.port}/{name}"

    def dump(self, name: str) -> Path:
        """Back up a database as docs/operations.md says, while it is in use; return the file."""
        file = self.folder / f"{name}.dump"
        self._on(name, "pg_dump", "--format=custom", f"--file={file}")
        return file

    def restore(self, file: Path, name: str) -> str:
        """Restore a backup into a new, empty database; return its URL."""
        url = self.database(name)
        self._on(name, "pg_restore", "--exit-on-error", str(file))
        return url

    def _on(self, name: str, program: str, *arguments: str) -> None:
        where = (f"--dbname={name}", "--host=127.0.0.1", f"--port={self.port}", "--username=arklex")
        done = self._run(program, *where, *arguments)
        assert done.returncode == 0, done.stderr


def _lives(pid: str) -> bool:
    """Whether a process runs: one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def postgres_server(address: str = "127.0.0.1", fsync: str = "off") -> Iterator[PostgresServer]:
    """Run a PostgreSQL server of its own, the newest that is installed; ``address`` and ``fsync`` as of PostgresServer."""
    programs = postgres_programs()
    assert programs is not None, "PostgreSQL is not installed"
    with server_folder() as folder:
        server = PostgresServer(folder, programs, address=address, fsync=fsync)
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.stop()


@dataclass
class RedisServer:
    """A Redis server without persistence on the loopback."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL, database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        """Start, and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *options], user=unprivileged(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(redis.ConnectionError), redis.Redis(port=self.port) as client:
                client.ping()
                return
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Stop it, at once unless told otherwise."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """Run a Redis server of its own."""
    assert shutil.which("redis-server"), "redis-server is not installed"
    with server_folder() as folder:
        server = RedisServer(folder)
        try:
            server.start(*options)
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def server_folder() -> Iterator[Path]:
    """Make a folder of the servers' user, with a path short enough for sockets; pytest's own are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="arklex-"))
    user = unprivileged()
    if user is not None:
        shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
