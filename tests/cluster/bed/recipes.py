"""The images that the bed and its tests need, and what each is made of."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.cluster.bed import images
from tests.cluster.bed.build import BuildFailed

SUITE = "trixie"
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")
REDIS_PACKAGES = ("redis-server",)
USELESS = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
SOURCES = ("Dockerfile", ".dockerignore", "LICENSE", "README.md", "pyproject.toml", "crds", "operator", "runtime")
"""What every image of the project is made of, besides its own requirements."""
TARGETS = ("operator", "runtime", "worker-custom", "worker-llm", "worker-tool")
"""The targets of the project's Dockerfile, each an image."""


def pause() -> str:
    """Return the image that holds a pod's namespaces: the machine's busybox, asleep."""
    busybox = Path(shutil.which("busybox") or "/bin/busybox").resolve()

    def make(tag: str) -> None:
        with tempfile.TemporaryDirectory(prefix="arklex-") as name:
            (Path(name) / "bin").mkdir()
            shutil.copy(busybox, Path(name) / "bin/busybox")
            images.from_folder(Path(name), tag, '--entrypoint=["/bin/busybox","sleep","2147483647"]')

    return images.made("pause", [busybox.read_bytes()], make, "a second")


def base() -> str:
    """Return the image the project's images are built on: Debian with its Python."""

    def make(tag: str) -> None:
        with _debian(BASE_PACKAGES) as folder:
            images.from_folder(folder, tag, "--cmd=python3", "--env=PATH=/usr/local/bin:/usr/bin:/bin", "--env=LANG=C.UTF-8")

    return images.made("base", ["1", SUITE, *BASE_PACKAGES], make, "Debian and its Python, about 2 min")


def redis() -> str:
    """Return an image with Debian's redis-server, for the chart's bundled Redis."""

    def make(tag: str) -> None:
        with _debian(REDIS_PACKAGES) as folder:
            images.from_folder(folder, tag, "--cmd=redis-server", "--env=PATH=/usr/local/bin:/usr/bin:/bin")

    return images.made("redis", ["1", SUITE, *REDIS_PACKAGES], make, "Debian and its Redis, about 2 min")


def project(target: str, on: str | None = None) -> str:
    """Return one of the project's images, built from its Dockerfile."""
    on = on or base()
    parts = ["1", target, on, *images.tree(images.ROOT / name for name in SOURCES)]

    def make(tag: str) -> None:
        images.from_dockerfile(images.ROOT / "Dockerfile", images.ROOT, tag, target, {"BASE": on})

    return images.made(target, parts, make, "half a minute the first time, seconds after an edit")


def example(name: str) -> str:
    """Return the image of an example's handlers, as its own Dockerfile makes it of the custom worker's."""
    on, folder = project("worker-custom"), images.ROOT / "examples" / name

    def make(tag: str) -> None:
        images.from_dockerfile(folder / "Dockerfile", folder, tag, arguments={"BASE": on})

    return images.made(name, [on, *images.tree([folder])], make, "seconds")


def successor(target: str) -> str:
    """Return an image that does what the project's does and is another one: what an upgrade brings."""
    on = project(target)

    def make(tag: str) -> None:
        with tempfile.TemporaryDirectory(prefix="arklex-") as context:
            dockerfile = Path(context) / "Dockerfile"
            dockerfile.write_text(f"FROM {on}\nLABEL org.opencontainers.image.revision=successor\n")
            images.from_dockerfile(dockerfile, Path(context), tag)

    return images.made(f"{target}-successor", ["1", on], make, "seconds")


@contextlib.contextmanager
def _debian(packages: Iterable[str]) -> Iterator[Path]:
    """Make a minimal Debian with the packages in a folder."""
    with tempfile.TemporaryDirectory(prefix="arklex-", ignore_cleanup_errors=True) as name:
        folder = Path(name) / "root"
        command = [
            "unshare",
            "--mount",
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(packages)}",
            SUITE,
            str(folder),
        ]
        done = subprocess.run(["unshare", "--mount", *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildFailed(f"debootstrap failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        for path in USELESS:
            shutil.rmtree(folder / path, ignore_errors=True)
            (folder / path).mkdir()
        yield folder
