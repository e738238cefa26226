"""``python -m tests.cluster [PYTEST ARGUMENTS]``: run the cluster tests on the bed, or on a cluster of yours.

The bed is brought up, and down again unless it was up before or ``ARKLEX_BED_KEEP`` is set. A cluster of yours is used where
``ARKLEX_TEST_KUBECONFIG`` names its kubeconfig (of an administrator); then these are needed too:

* ``ARKLEX_TEST_IMAGE_PREFIX`` and ``ARKLEX_TEST_IMAGE_TAG``: where the images are, as ``PREFIX/operator:TAG`` and so on
  for ``runtime``, ``worker-custom``, ``worker-llm``, ``worker-tool`` and ``redis``;
* ``ARKLEX_TEST_ADDRESS``: the address of this machine that pods reach, since databases of the tests run here.

These may be:

* ``ARKLEX_TEST_HELLO_IMAGE``: what examples/hello's Dockerfile makes of ``worker-custom``; without it a ConfigMap will do;
* ``ARKLEX_TEST_NEXT_TAG``: another tag of ``operator``, ``runtime`` and ``worker-custom``, to upgrade to; it must name other
  images than the first. Without it the test of an upgrade to other images is left out.

kubectl and helm come from PATH, or are named by ``ARKLEX_TEST_KUBECTL`` and ``ARKLEX_TEST_HELM``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster.bed import cluster, images, recipes, space
from tests.cluster.bed.__main__ import require_machine
from tests.cluster.bed.build import BuildFailed, build
from tests.cluster.bed.place import NODE_ADDRESS, Place, place
from tests.cluster.bed.processes import NotStarted
from tests.cluster.bed.programs import program
from tests.cluster.target import HELLO, NEED_THE_BED, UPGRADED, Target


def all_images() -> dict[str, str]:
    """Build the images that the tests need; return their references by name."""
    return {**{name: recipes.project(name) for name in recipes.TARGETS}, "redis": recipes.redis()}


def every_image() -> dict[str, str]:
    """Build the images of ``all_images`` and those that only tests use."""
    return {**all_images(), HELLO: recipes.example("hello"), **{f"{name}-next": recipes.successor(name) for name in UPGRADED}}


def own_target(here: Place, wanted: Callable[[], dict[str, str]] = all_images) -> Target:
    """Bring up the bed with the images that are wanted; return it as the tests' cluster."""
    build()
    references = wanted()
    for step in cluster.up(here):
        print(f"{step.second:5.1f} s  {step.words}", flush=True)
    started = time.monotonic()
    images.load(here, references.values())
    print(f"{time.monotonic() - started:5.1f} s  images are loaded", flush=True)
    return Target(here.kubeconfig, str(program("kubectl")), str(program("helm")), NODE_ADDRESS, references, True)


def given_target() -> Target:
    """Return the cluster that the environment names."""
    wanted = ("ARKLEX_TEST_IMAGE_PREFIX", "ARKLEX_TEST_IMAGE_TAG", "ARKLEX_TEST_ADDRESS")
    if missing := [name for name in wanted if not os.environ.get(name)]:
        raise SystemExit(f"with ARKLEX_TEST_KUBECONFIG set, {', '.join(missing)} must be too:\n{__doc__}")
    prefix, tag, address = (os.environ[name] for name in wanted)
    references = {name: f"{prefix}/{name}:{tag}" for name in (*recipes.TARGETS, "redis")}
    if hello := os.environ.get("ARKLEX_TEST_HELLO_IMAGE"):
        references[HELLO] = hello
    if following := os.environ.get("ARKLEX_TEST_NEXT_TAG"):
        references |= {f"{name}-next": f"{prefix}/{name}:{following}" for name in UPGRADED}
    kubectl, helm = os.environ.get("ARKLEX_TEST_KUBECTL", "kubectl"), os.environ.get("ARKLEX_TEST_HELM", "helm")
    return Target(Path(os.environ["ARKLEX_TEST_KUBECONFIG"]), kubectl, helm, address, references, False)


def main(arguments: list[str]) -> int:
    """Return pytest's exit code."""
    tests = [sys.executable, "-m", "pytest", *(arguments or ["tests/cluster"])]
    if os.environ.get("ARKLEX_TEST_KUBECONFIG"):
        where, breaking = os.environ["ARKLEX_TEST_KUBECONFIG"], " ".join(NEED_THE_BED)
        print(f"on the cluster of {where}; left out, since they break a node: {breaking}", flush=True)
        return subprocess.run(tests, env={**os.environ, **given_target().environment()}, check=False).returncode
    require_machine()
    here = place()
    kept = not cluster.ailments(here) or bool(os.environ.get("ARKLEX_BED_KEEP"))
    try:
        target = own_target(here, every_image)
        command = space.inside(here, tests, mounts=False)
        return subprocess.run(command, env={**os.environ, **target.environment()}, check=False).returncode
    except (BuildFailed, NotStarted, cluster.BedBroken) as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        if not kept:
            cluster.down(here)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
