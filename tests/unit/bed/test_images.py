"""What tells an image from others, what goes into an archive of some, and how packages are found inside a build."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.cluster.bed import images


def test_a_tree_tells_contents_names_and_modes_but_not_caches(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    file = tmp_path / "code/a.py"
    file.write_text("1")
    seen = {images.digest(images.tree([tmp_path / "code"]))}
    (tmp_path / "code/__pycache__").mkdir()
    (tmp_path / "code/__pycache__/a.pyc").write_text("x")
    assert images.digest(images.tree([tmp_path / "code"])) in seen
    file.write_text("2")
    seen.add(images.digest(images.tree([tmp_path / "code"])))
    file.chmod(0o755)
    seen.add(images.digest(images.tree([tmp_path / "code"])))
    file.rename(tmp_path / "code/b.py")
    seen.add(images.digest(images.tree([tmp_path / "code"])))
    assert len(seen) == 4


def test_parts_are_told_apart_by_where_they_end() -> None:
    assert images.digest(["ab", "c"]) != images.digest(["a", "bc"])


def test_an_archive_leaves_out_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARKLEX_BED_CACHE", str(tmp_path))
    blobs = tmp_path / "images/layout/blobs/sha256"
    blobs.mkdir(parents=True)
    (tmp_path / "images/layout/oci-layout").write_text("{}")
    names = {name: f"sha256:{name}" for name in ("config", "base", "code")}
    for name in names:
        (blobs / name).write_text(name)
    parts = {"config": {"digest": names["config"]}, "layers": [{"digest": names["base"]}, {"digest": names["code"]}]}
    (blobs / "manifest").write_text(json.dumps(parts))
    manifest = {"digest": "sha256:manifest", "annotations": {images.NAME: "x"}}
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        images.write_archive(archive, [manifest, manifest], {names["base"]})
    written.seek(0)
    with tarfile.open(fileobj=written) as archive:
        found = [entry.name for entry in archive]
        index = archive.extractfile("index.json")
        assert index is not None and json.load(index)["manifests"] == [manifest, manifest]
    stem = "blobs/sha256"
    assert found == ["oci-layout", f"{stem}/manifest", f"{stem}/config", f"{stem}/code", "index.json"]


def test_pip_settings_name_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/somewhere/here")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.invalid/simple")
    settings = images.pip_settings()
    assert settings.startswith("[global]\n") and "index-url = https://mirror.invalid/simple\n" in settings
    assert "somewhere" not in settings
