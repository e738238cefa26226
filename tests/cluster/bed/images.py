"""Container images without a registry: built into a store of the bed's own, handed to its containerd as archives.

An image's tag is the digest of what it is made of, so one that is there is right, and a changed one is another.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.cluster.bed import space
from tests.cluster.bed.build import BuildFailed, locked
from tests.cluster.bed.place import Place
from tests.cluster.bed.programs import cache

PREFIX = "localhost/arklex-bed"
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
    return tag


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
    """Hand images to the bed's containerd; those it has are left alone. Raises BuildFailed."""
    ctr = ("ctr", f"--address={place.containerd}", "--namespace=k8s.io")
    here = set(space.ran(place, *ctr, "images", "list", "--quiet").stdout.split())
    for tag in tags:
        if tag in here:
            continue
        with tempfile.TemporaryDirectory(prefix="arklex-", dir=cache()) as name:
            archive = Path(name) / "image.tar"
            buildah("push", "--quiet", "--disable-compression", tag, f"oci-archive:{archive}:{tag}")
            done = space.ran(place, *ctr, "images", "import", "--snapshotter=overlayfs", str(archive), timeout=300)
        if done.returncode != 0:
            raise BuildFailed(f"containerd refuses {tag}: {done.stderr}")
