"""Container images without a registry: built into a store of the bed's own, handed to its containerd as archives.

An image's tag is the digest of what it is made of, so one that is there is right, and a changed one is another.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.cluster.bed import space
from tests.cluster.bed.build import BuildFailed, locked
from tests.cluster.bed.place import Place
from tests.cluster.bed.programs import cache
from tests.cluster.bed.store import ctr

PREFIX = "localhost/arklex-bed"
OCI = "application/vnd.oci.image"
NAME = "org.opencontainers.image.ref.name"
KEPT = 4
"""So many images of a name stay in the store: several clones may be at work."""
LAYOUT_SIZE = 6 << 30
"""With more bytes, the layout of layers ready for containerd begins anew."""
ROOT = Path(__file__).parents[3]


def buildah(*arguments: str | Path, timeout: float = 900) -> str:
    """Run buildah on the bed's own store; return what it prints. Raises BuildFailed."""
    folder = cache() / "images"
    options = [f"--root={folder / 'store'}", f"--runroot={folder / 'run'}", "--storage-driver=overlay"]
    words = ["buildah", *options, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"buildah {' '.join(map(str, arguments))[:300]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def digest(parts: Iterable[str | bytes]) -> str:
    """Return a short digest of the parts in their order."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()[:16]


def tree(paths: Iterable[Path]) -> list[str | bytes]:
    """Return what tells the files below the paths from others: names, modes and contents."""
    parts: list[str | bytes] = []
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                parts += [str(file.relative_to(path.parent)), str(file.stat().st_mode & 0o111), file.read_bytes()]
    return parts


def exists(tag: str) -> bool:
    """Return whether the bed's store has an image."""
    return bool(buildah("images", "--quiet", "--filter", f"reference={tag}").strip())


def made(name: str, parts: Iterable[str | bytes], make: Callable[[str], None], about: str) -> str:
    """Return the tag of an image, which is made if it is not there yet; ``about`` says how long that takes."""
    tag = f"{PREFIX}/{name}:{digest(parts)}"
    if exists(tag):
        return tag
    with locked("images"):
        if not exists(tag):
            started = time.monotonic()
            print(f"image {name}: building ({about})", flush=True)
            make(tag)
            print(f"image {name}: built in {time.monotonic() - started:.0f} s", flush=True)
            forget_old(name)
    return tag


def forget_old(name: str) -> None:
    """Remove all but the newest images of a name; one that others are built on stays. The lock must be held."""
    buildah("rm", "--all")  # what interrupted builds left; no other runs, for the lock
    form, repository = "{{.CreatedAtRaw}}|{{.Name}}:{{.Tag}}", f"{PREFIX}/{name}"
    rows = [line.split("|") for line in buildah("images", "--format", form).splitlines()]
    for _, tag in sorted((row for row in rows if row[1].startswith(f"{repository}:")), reverse=True)[KEPT:]:
        with contextlib.suppress(BuildFailed):
            buildah("rmi", tag)


def from_folder(folder: Path, tag: str, *settings: str) -> None:
    """Make an image of one layer, the folder; ``settings`` are those of ``buildah config``."""
    container = buildah("from", "scratch").strip()
    try:
        mount = buildah("mount", container).strip()
        subprocess.run(["cp", "--archive", f"{folder}/.", mount], check=True)
        buildah("umount", container)
        buildah("config", *settings, container)
        buildah("commit", "--quiet", container, tag)
    finally:
        buildah("rm", container)


def from_dockerfile(
    file: Path, context: Path, tag: str, target: str | None = None, arguments: dict[str, str] | None = None
) -> None:
    """Build an image of a Dockerfile, layers cached; packages come from where the machine's own pip gets them."""
    with tempfile.TemporaryDirectory(prefix="arklex-") as name:
        settings = Path(name) / "pip.conf"
        settings.write_text(pip_settings())
        buildah(
            "bud",
            "--layers",
            "--quiet",
            "--isolation=chroot",
            "--network=host",
            "--pull=never",
            "--volume=/etc/ssl/certs:/etc/ssl/certs:ro",
            f"--secret=id=pip,src={settings}",
            *([f"--target={target}"] if target else []),
            *(f"--build-arg={key}={value}" for key, value in (arguments or {}).items()),
            f"--file={file}",
            f"--tag={tag}",
            context,
        )


def pip_settings() -> str:
    """Return a pip.conf that has pip do in a container what it does here; folders of this machine are left out."""
    listed = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, cwd="/")
    kept: dict[str, str] = {}
    for line in listed.stdout.splitlines():  # global first, then the user's, then the environment's
        name, _, value = line.partition("=")
        option = name.rsplit(".", 1)[-1]
        if option in {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "cert"}:
            kept[option.removeprefix("default-")] = value.strip("'\"")
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in kept.items())


def load(place: Place, tags: Iterable[str]) -> None:
    """Hand images to the bed's containerd, of their layers only those it has not. Raises BuildFailed."""
    here = set(space.ran(place, *ctr(place, "images", "list", "--quiet")).stdout.split())
    wanted = [tag for tag in dict.fromkeys(tags) if tag not in here]
    if not wanted:
        return
    manifests = layout(wanted)
    blobs = set(space.ran(place, *ctr(place, "content", "list", "--quiet")).stdout.split())
    command = space.inside(place, ctr(place, "images", "import", "--snapshotter=overlayfs", "-"))
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin, tarfile.open(fileobj=process.stdin, mode="w|") as archive:
            write_archive(archive, manifests, blobs)
        if process.wait(600) != 0:
            log.seek(0)
            raise BuildFailed(f"containerd refuses {', '.join(wanted)}: {log.read()[-2000:]}")


def layout(tags: list[str]) -> list[dict[str, Any]]:
    """Put images into the cache's OCI layout, uncompressed, each layer once; return the descriptors of their manifests."""
    folder = cache() / "images/layout"
    with locked("images"):
        if sum(file.stat().st_size for file in (folder / "blobs").rglob("*")) > LAYOUT_SIZE:
            shutil.rmtree(folder)
        (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return [_manifest(folder, tag) for tag in tags]


def _manifest(folder: Path, tag: str) -> dict[str, Any]:
    settings = json.loads(buildah("inspect", "--type=image", tag))["Config"].encode()
    layers = json.loads(settings)["rootfs"]["diff_ids"]
    if not all(_blob(folder, one).exists() for one in layers):
        with tempfile.TemporaryDirectory(prefix="arklex-", dir=cache()) as name:
            buildah("push", "--quiet", "--disable-compression", tag, f"dir:{name}/image")
            for one in layers:
                if not _blob(folder, one).exists():
                    (Path(name) / "image" / one.removeprefix("sha256:")).rename(_blob(folder, one))
    config = _put(folder, settings, f"{OCI}.config.v1+json")
    parts = [{"mediaType": f"{OCI}.layer.v1.tar", "digest": one, "size": _blob(folder, one).stat().st_size} for one in layers]
    manifest = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": config, "layers": parts}
    found = _put(folder, json.dumps(manifest).encode(), f"{OCI}.manifest.v1+json")
    return {**found, "annotations": {NAME: tag}}


def _put(folder: Path, data: bytes, kind: str) -> dict[str, Any]:
    name = f"sha256:{hashlib.sha256(data).hexdigest()}"
    _blob(folder, name).write_bytes(data)
    return {"mediaType": kind, "digest": name, "size": len(data)}


def write_archive(archive: tarfile.TarFile, manifests: list[dict[str, Any]], known: set[str]) -> None:
    """Write an OCI archive of images of the layout, without the blobs whose digests are ``known``."""
    folder = cache() / "images/layout"

    def add(name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))

    add("oci-layout", (folder / "oci-layout").read_bytes())
    for manifest in manifests:
        parts = json.loads(_blob(folder, manifest["digest"]).read_text())
        for one in (manifest["digest"], parts["config"]["digest"], *(layer["digest"] for layer in parts["layers"])):
            if one not in known:
                known.add(one)
                archive.add(_blob(folder, one), f"blobs/{one.replace(':', '/')}")
    add("index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())


def _blob(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest.replace(":", "/")
