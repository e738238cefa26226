"""What tells the bed's programs from others, where they are looked for, and which go may build them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cluster.bed import build, programs
from tests.cluster.bed.programs import ALL, Module


def test_a_digest_changes_with_versions_hashes_and_flags_only(module: Module) -> None:
    before = module.digest()
    (module.source / "tools.go").write_text("package tools\n")
    assert module.digest() == before
    assert Module("tiny", {"hi": "./hi"}, 0.1, ldflags="").digest() != before
    for name in ("go.mod", "go.sum"):
        known = module.digest()
        with (module.source / name).open("a") as file:
            file.write("// more\n")
        assert module.digest() != known


def test_a_chosen_folder_comes_before_the_cache(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(programs.ProgramMissing, match="bed build"):
        programs.program("hi")
    module.folder.mkdir(parents=True)
    (module.folder / "hi").touch()
    assert programs.program("hi") == module.folder / "hi" and module.missing() == []
    monkeypatch.setenv("ARKLEX_BED_BIN", str(tmp_path))
    (tmp_path / "hi").touch()
    assert programs.program("hi") == tmp_path / "hi"


def a_go(folder: Path, version: str) -> None:
    folder.mkdir()
    script = folder / "go"
    script.write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n")
    script.chmod(0o755)


@pytest.mark.parametrize(("version", "environment"), [("1.26.8", {}), ("1.27.0", {}), ("1.24.4", {"GOTOOLCHAIN": "auto"})])
def test_a_go_that_is_new_or_fetches_a_new_one_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, environment: dict[str, str]
) -> None:
    a_go(tmp_path / "bin", version)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setattr(build, "GO_PLACES", [])
    assert build.find_go() == (str(tmp_path / "bin/go"), environment)


@pytest.mark.parametrize("version", ["1.19.8", ""])
def test_the_missing_go_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    if version:
        a_go(tmp_path / "bin", version)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    monkeypatch.setattr(build, "GO_PLACES", [])
    with pytest.raises(
        build.GoMissing, match=re.escape(f"needs Go 1.26 or newer, and {'there is none' if not version else ''}")
    ):
        build.find_go()


@pytest.mark.parametrize("module", ALL, ids=lambda module: module.name)
def test_modules_pin_every_dependency_by_hash(module: Module) -> None:
    sums = {tuple(line.split()[:2]) for line in (module.source / "go.sum").read_text().splitlines()}
    text = (module.source / "go.mod").read_text()
    replaced = dict(re.findall(r"^\t(\S+) => \S+ (v\S+)$", text, re.MULTILINE))
    required = re.findall(r"^(?:require )?\t?([a-z0-9.-]+\.[a-z]+/\S+) (v\S+)", text, re.MULTILINE)
    assert required
    lacking = [name for name, version in required if (name, f"{replaced.get(name, version)}/go.mod") not in sums]
    assert lacking == []
