"""Builds what the bed is missing from Go modules, once: what is built stays in the cache until its versions or flags change."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.bed.programs import ALL, Module, cache

GO = (1, 26)
GO_THAT_FETCHES = (1, 21)
"""From this version on, go fetches a newer go by itself where it may."""

GO_PLACES = ["/usr/local/go/bin/go", *map(str, Path("/usr/lib").glob("go-1.*/bin/go"))]


class BuildFailed(RuntimeError):
    """The words say which module, and end with the compiler's."""


class GoMissing(BuildFailed):
    """No go here that could build the bed; the words say which is needed and how to get it."""


def find_go() -> tuple[str, dict[str, str]]:
    """Return the newest go here with the environment it needs. Raises GoMissing."""
    found = {
        path: _go_version(path) for path in dict.fromkeys([shutil.which("go"), *GO_PLACES]) if path and Path(path).exists()
    }
    advice = "install Go from its site or golang-go of Debian 13 or newer, or name the programs' folder by ARKLEX_BED_BIN"
    if not found:
        raise GoMissing(f"building the bed needs Go {GO[0]}.{GO[1]} or newer, and there is none: {advice}")
    path, version = max(found.items(), key=lambda item: item[1])
    if version >= GO:
        return path, {}
    if version >= GO_THAT_FETCHES:
        return path, {"GOTOOLCHAIN": "auto"}
    shown = ".".join(map(str, version))
    raise GoMissing(f"building the bed needs Go {GO[0]}.{GO[1]} or newer, and {path} is {shown}: {advice}")


def _go_version(path: str) -> tuple[int, ...]:
    shown = subprocess.run([path, "version"], capture_output=True, text=True, check=False, cwd="/").stdout
    match = re.search(r"go(\d+)\.(\d+)", shown)
    return tuple(map(int, match.groups())) if match else (0, 0)


@contextlib.contextmanager
def locked(name: str) -> Iterator[bool]:
    """Hold a lock of the cache, so that nothing is built twice at once; yields whether another held it before."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as file:
        waited = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            print("waiting for another build to end", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield waited


def build() -> None:
    """Build all programs that are missing, saying what it does. Raises BuildFailed."""
    if not any(module.missing() for module in ALL):
        print("all programs of the bed are built", flush=True)
        return
    with locked("programs"):
        todo = [module for module in ALL if module.missing()]
        if not todo:
            return
        go, environment = find_go()
        minutes = sum(module.minutes for module in todo)
        print(f"building {', '.join(module.name for module in todo)}: about {minutes:g} minutes on two idle cores", flush=True)
        for module in todo:
            build_module(module, go, environment)


def build_module(module: Module, go: str, environment: dict[str, str]) -> None:
    """Build one module's programs into its folder, all or none."""
    started = time.monotonic()
    print(f"{module.name}: building {', '.join(module.names)} (about {module.minutes:g} min)", flush=True)
    parent = module.folder.parent
    shutil.rmtree(parent, ignore_errors=True)
    parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=parent) as name:
        out = Path(name)
        env = {**os.environ, **module.environment, **environment, "GOFLAGS": "", "GOWORK": "off"}
        if module.files:
            _copy_files(module, go, env, out)
        for target, packages in _targets(module, out):
            command = [go, "build", "-mod=readonly", "-buildvcs=false", f"-ldflags={module.ldflags}", "-o", target, *packages]
            _run(module, ["nice", "-n", "10", *command], env, started)
        out.chmod(0o755)
        out.rename(module.folder)
        out.mkdir()  # for the context manager to remove
    print(f"{module.name}: built in {(time.monotonic() - started) / 60:.1f} min", flush=True)


def _copy_files(module: Module, go: str, environment: dict[str, str], out: Path) -> None:
    """Copy the module's files out of the one that holds them; go checks that against go.sum."""
    command = [go, "mod", "download", "-json", module.holder]
    done = subprocess.run(command, cwd=module.source, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"{module.holder} could not be had:\n{(done.stdout + done.stderr)[-4000:]}")
    folder = Path(json.loads(done.stdout)["Dir"])
    for name, path in module.files.items():
        (out / name).write_bytes((folder / path).read_bytes())


def _targets(module: Module, out: Path) -> list[tuple[str, list[str]]]:
    if len(module.packages) > 1:
        return [(f"{out}/", list(module.packages.values()))]
    return [(str(out / name), [package]) for name, package in module.packages.items()]


def _run(module: Module, command: list[str], environment: dict[str, str], started: float) -> None:
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=module.source, env=environment, stdout=log, stderr=log)
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(60)
                    break
                print(f"{module.name}: {(time.monotonic() - started) / 60:.0f} min", flush=True)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            log.seek(0)
            raise BuildFailed(f"{module.name} could not be built:\n{log.read()[-4000:]}")
