"""The bed's builds with a real go: once however many ask for it, and nothing half done."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cluster.bed import build, programs
from tests.cluster.bed.programs import Module

pytestmark = pytest.mark.apiserver


def test_two_builds_at_once_build_once(module: Module) -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path\n"
        "from tests.cluster.bed import build, programs\n"
        f"programs.MODULES = Path({str(programs.MODULES)!r})\n"
        "build.ALL = programs.ALL = [programs.Module('tiny', {'hi': './hi'}, 0.1)]\n"
        "build.build()\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said.count("tiny: built") == 1
    assert subprocess.run([module.folder / "hi"], capture_output=True, text=True, check=True).stderr == "hi\n"


def test_a_failed_build_says_why_and_leaves_nothing(module: Module) -> None:
    (module.source / "hi/main.go").write_text("package main\n\nfunc main() { nonsense() }\n")
    with pytest.raises(build.BuildFailed, match="undefined: nonsense"):
        build.build()
    assert module.missing() == ["hi"]
