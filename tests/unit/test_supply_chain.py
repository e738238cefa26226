"""What is installed is what was locked: hashes and no addresses in the lock, and no code that runs uninvited.

A .pth file runs at every start of the interpreter; in 2026 a hijacked release of a popular package hid in one.
"""

from __future__ import annotations

import re
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PINNED = re.compile(r"^(?P<name>[a-z0-9-]+)(\[[a-z,]+\])?==(?P<version>\S+)(?P<marker> ; [^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
KNOWN_PTH = {
    "_editable_impl_arklex_operator.pth",  # this project, by `make setup`
    "_virtualenv.pth",  # uv's own environments
    "a1_coverage.pth",  # coverage, if someone measures it
    "distutils-precedence.pth",  # setuptools, in Python 3.11's environments
}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock_pins_and_hashes_everything_and_names_no_host(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
    strange = [line for line in lines if not PINNED.match(line) and not HASH.match(line)]
    assert not strange
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if PINNED.match(line):
            assert HASH.match(following), f"{line} has no hash"


def test_locks_agree() -> None:
    """What users install is what was tested."""
    dev = pinned(ROOT / "requirements/dev.txt")
    base = pinned(ROOT / "requirements/base.txt")
    assert {name: versions for name, versions in base.items() if dev.get(name) != versions} == {}


def test_every_declared_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *(line for name, lines in extras.items() if name != "bench" for line in lines)]
    names = {re.split(r"[\[<>=; ]", line)[0] for line in declared} - {"arklex-operator"}
    assert names - pinned(ROOT / "requirements/dev.txt").keys() == set()


def test_no_unexpected_pth_file_is_installed() -> None:
    site = Path(sysconfig.get_path("purelib"))
    assert {file.name for file in site.glob("*.pth")} - KNOWN_PTH == set()


def test_the_project_pth_only_names_folders() -> None:
    file = Path(sysconfig.get_path("purelib")) / "_editable_impl_arklex_operator.pth"
    assert [Path(line).name for line in file.read_text().splitlines()] == ["crds", "operator", "runtime"]


def test_no_start_up_module_is_installed() -> None:
    site = Path(sysconfig.get_path("purelib"))
    assert [name for name in ("sitecustomize.py", "usercustomize.py") if (site / name).exists()] == []


def test_installed_versions_are_the_locked_ones() -> None:
    locked = pinned(ROOT / "requirements/dev.txt")
    installed = {re.sub(r"[-_.]+", "-", dist.name).lower(): dist.version for dist in metadata.distributions()}
    known = {name: versions for name, versions in locked.items() if name in installed.keys() - {"pip", "setuptools"}}
    assert known
    assert {name: installed[name] for name, versions in known.items() if installed[name] not in versions} == {}


def pinned(lock: Path) -> dict[str, set[str]]:
    """Versions by name; several where they depend on the platform."""
    found: dict[str, set[str]] = {}
    for line in lock.read_text().splitlines():
        if match := PINNED.match(line):
            found.setdefault(match["name"], set()).add(match["version"])
    return found
