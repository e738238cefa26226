"""Fixtures of the tests on a cluster: ``kube`` (as its admin), ``release`` (ours, installed by helm), ``space``.

On a cluster that is not the bed they take nothing that is there, and leave nothing behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Iterator

import pytest

from tests.cluster import diagnosis
from tests.cluster.bed import cluster, place
from tests.cluster.kube import Kube
from tests.cluster.release import SMALL, Release
from tests.cluster.spaces import RESTRICTED, namespace
from tests.cluster.target import NEED_THE_BED, Target, target
from tests.services import PostgresServer, postgres_server

ONE_SET_OF_IMAGES = ["test_upgrade.py"]
ELSEWHERE = bool(os.environ.get("ARKLEX_TEST_KUBECONFIG")) and not os.environ.get("ARKLEX_TEST_BED")
collect_ignore = [
    *(NEED_THE_BED if ELSEWHERE else []),
    *(ONE_SET_OF_IMAGES if ELSEWHERE and not os.environ.get("ARKLEX_TEST_NEXT_TAG") else []),
]
SYSTEM = "arklex-system"
OURS = "arklex.ai/made-by-tests"
"""Label of the release's namespace: one without it is somebody else's."""
CRDS = ("taskgraphruns.arklex.ai", "taskgraphs.arklex.ai", "workers.arklex.ai")


@pytest.fixture(scope="session", name="target")
def cluster_target() -> Target:
    """Return the cluster that the tests run on."""
    return target()


@pytest.fixture(scope="session")
def kube(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """Return kubectl as the cluster's administrator."""
    cache = tmp_path_factory.mktemp("kubectl")
    return Kube((target.kubectl, f"--kubeconfig={target.kubeconfig}", f"--cache-dir={cache}"))


@pytest.fixture(scope="session")
def cluster_postgres(target: Target) -> Iterator[PostgresServer]:
    """Return a PostgreSQL server that pods reach."""
    with postgres_server(target.address) as server:
        yield server


@pytest.fixture(scope="session")
def release(
    target: Target, kube: Kube, cluster_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """Return the one release of all tests, installed and ready."""
    folder = tmp_path_factory.mktemp("helm")
    helm = ("env", f"HOME={folder}", target.helm, f"--kubeconfig={target.kubeconfig}")
    if not target.bed:
        refuse_a_used_cluster(kube)
    key, _, value = RESTRICTED.partition("=")
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": {key: value, OURS: "yes"}}})
    inside, url = kube.within(SYSTEM), cluster_postgres.database("arklex")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "journal"}}
    inside.apply({**secret, "stringData": {"url": url.replace("+asyncpg", "")}})
    journal = {"type": "postgresql", "postgresql": {"existingSecret": "journal"}}
    renewed = {"podAnnotations": {"tests/journal": url.rpartition("@")[2].replace("/", "-").replace(":", "-")}}
    one = Release(
        helm,
        inside,
        cluster_postgres,
        url,
        target.address,
        no_api_server=lambda: cluster.without(place.place(), "apiserver"),
        outside=not target.bed,
    )
    try:
        one.install(SMALL, target.image_values(), {"journal": journal, "runtime": renewed})
    except AssertionError as failure:
        raise AssertionError(f"{failure}\n{diagnosis.of(inside)}") from None
    yield one
    one.leave()
    if not target.bed:
        remove(one, kube)


def refuse_a_used_cluster(kube: Kube) -> None:
    """Fail where an arklex is installed that these tests did not install: they upgrade, break and remove theirs."""
    system = kube.get("namespace", SYSTEM)
    ours = system is not None and OURS in system["metadata"].get("labels", {})
    there = [f"namespace {SYSTEM}"] if system is not None and not ours else []
    there += [f"CustomResourceDefinition {name}" for name in CRDS if not ours and kube.get("crd", name)]
    if there:
        found = ", ".join(there)
        pytest.exit(f"this cluster has {found}: the tests install and remove an arklex of their own; take another cluster", 2)


def remove(release: Release, kube: Kube) -> None:
    """Remove the release, its namespace and its CRDs, and with these all Workers and graphs of the tests."""
    if kube.get("namespace", SYSTEM):
        release.uninstall()
    kube("delete", "crd", "--ignore-not-found", *CRDS, "--timeout=120s")
    kube("delete", "namespace", SYSTEM, "--ignore-not-found", "--timeout=150s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the cluster says to the report of a test that failed."""
    report = yield
    if report.when == "call" and report.failed:
        for name in ("space", "release"):
            found = getattr(item, "funcargs", {}).get(name)
            if found is not None:
                report.sections.append((f"cluster: {name}", diagnosis.of(found if name == "space" else found.kube)))
    return report


@pytest.fixture
def space(kube: Kube, release: Release, request: pytest.FixtureRequest) -> Iterator[Kube]:
    """Return a namespace of the test's own, with the ConfigMap ``handlers``; it is deleted afterwards, unwaited for."""
    with namespace(kube, request.node.originalname.removeprefix("test_").replace("_", "-")) as inside:
        yield inside


@pytest.fixture
def model_url(target: Target) -> Iterator[str]:
    """Return the URL of the small model's server, as pods reach it."""
    command = [sys.executable, "-m", "arklex_runtime.demo.model_server", "--host", target.address]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()
