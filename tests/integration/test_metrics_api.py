"""arklex-metrics as the API server and the HPA controller see it."""

from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from cryptography import x509

from tests.controlplane import ControlPlane
from tests.controlplane import control_plane as running_control_plane
from tests.metrics_api import API_SERVICE, FOREIGN, GROUP, HOLDER, MetricsServer, hpa_account, load_of, metrics_server, prepare
from tests.pools import Work, apply, deployment, make_ready, pod, worker
from tests.services import RedisServer, free_port

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]


@pytest.fixture(scope="module")
def server(control_plane: ControlPlane, redis_process: RedisServer) -> Iterator[MetricsServer]:
    with metrics_server(control_plane, redis_process.url) as running:
        yield running


@pytest.fixture
def pool(server: MetricsServer, redis_url: str, request: pytest.FixtureRequest) -> Iterator[Work]:
    """Work for the Worker ``assistant`` in a namespace called like the test: four ready pods of ten slots."""
    plane, namespace = server.plane, named(request)
    plane.kubectl("create", "namespace", namespace)
    plane.kubectl("create", "serviceaccount", "default", f"--namespace={namespace}")
    pods = [f"pod-{number}" for number in range(4)]
    apply(plane, worker(namespace, "assistant"), deployment(namespace, "assistant", 4))
    apply(plane, *(pod(namespace, "assistant", name) for name in pods))
    make_ready(plane, namespace, *pods)
    work = Work(redis_url, namespace, "assistant")
    yield work
    work.close()


def named(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")


def known(server: MetricsServer, namespace: str) -> None:
    """Wait until the server has seen the Worker."""
    server.until(lambda: f'namespace="{namespace}"' in server.admin("/metrics")[1], "the Worker is seen")


def direct(server: MetricsServer, path: str, certificate: str | None) -> tuple[int, dict[str, object]]:
    """Ask the server itself, with one of the control plane's certificates; everything it says is JSON."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate is not None:
        folder = server.plane.folder / "pki"
        context.load_cert_chain(folder / f"{certificate}.crt", folder / f"{certificate}.key")
    request = urllib.request.Request(f"https://127.0.0.1:{server.port}{path}", headers={"X-Remote-User": "admin"})
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            code, content, kind = answer.status, answer.read(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            code, content, kind = error.code, error.read(), error.headers["Content-Type"]
    assert kind.startswith("application/json")
    return code, json.loads(content)


def test_the_metric_is_discovered(server: MetricsServer) -> None:
    resources = json.loads(server.plane.kubectl("get", f"--raw={GROUP}"))
    assert [each["name"] for each in resources["resources"]] == ["arklex-worker-load"]
    found = json.loads(server.plane.kubectl("get", "apiservice", API_SERVICE, "--output=json"))
    assert found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "arklex-metrics"
    assert server.admin("/readyz")[1].startswith(f"{API_SERVICE} is served by arklex-metrics.{server.namespace}")


def test_the_hpa_controller_reads_the_load(server: MetricsServer, pool: Work, request: pytest.FixtureRequest) -> None:
    namespace = named(request)
    known(server, namespace)
    pool.queue(32)
    server.until(lambda: load_of(server.plane, namespace, "assistant") == "800m", "32 of 40 slots are 0.8")
    pool.claim(32)
    pool.queue(1)
    server.until(lambda: load_of(server.plane, namespace, "assistant") == "825m", "33 of 40 slots are 0.825")
    pool.finish()
    server.until(lambda: load_of(server.plane, namespace, "assistant") == "0", "nothing is no load")
    metrics = server.admin("/metrics")[1]
    assert f'arklex_worker_load{{namespace="{namespace}",worker="assistant"}}' in metrics
    assert 'arklex_metrics_source_age_seconds{source="redis"}' in metrics


def test_only_the_hpa_controller_may_read(server: MetricsServer, pool: Work, request: pytest.FixtureRequest) -> None:
    known(server, named(request))
    path = f"{GROUP}/namespaces/{named(request)}/arklex-worker-load"
    with pytest.raises(AssertionError, match="user 'admin' may not read the load of Workers"):
        server.plane.kubectl("get", f"--raw={path}")
    account = hpa_account(server.plane)
    assert len(json.loads(server.plane.kubectl("get", f"--raw={path}", kubeconfig=account))["items"]) == 1
    for wrong, words in (
        (f"{path}?labelSelector=app%3Dx", "write arklex.ai/worker=<worker>"),
        (f"{path}?labelSelector=arklex.ai%2Fworker%3Dnobody", "there is none"),
        (f"{GROUP}/namespaces/{named(request)}/other", "there is no metric 'other'"),
    ):
        with pytest.raises(AssertionError, match=words):
            server.plane.kubectl("get", f"--raw={wrong}", kubeconfig=account)


def test_only_the_front_proxy_may_ask(server: MetricsServer) -> None:
    for certificate in (None, "admin"):
        code, status = direct(server, GROUP, certificate)
        assert (code, status["kind"], status["reason"]) == (401, "Status", "Unauthorized")
    assert direct(server, GROUP, "front")[0] == 200
    assert direct(server, "/apis/external.metrics.k8s.io", "front")[1]["kind"] == "APIGroup"
    assert [direct(server, path, "front")[0] for path in ("/apis", "/nowhere", "/openapi/v2")] == [406, 404, 404]


def test_a_deleted_certificate_is_made_anew_without_a_gap(
    server: MetricsServer, pool: Work, request: pytest.FixtureRequest
) -> None:
    known(server, named(request))
    plane, before = server.plane, bundle(server)
    plane.kubectl("delete", "secret", "arklex-metrics-tls", f"--namespace={server.namespace}")

    def renewed() -> bool:
        assert load_of(plane, named(request), "assistant") == "0"
        return bundle(server) != before

    server.until(renewed, "the API server trusts another CA")
    for _ in range(20):
        assert load_of(plane, named(request), "assistant") == "0"
    assert server.log.count("serving until") == 2
    authorities = x509.load_pem_x509_certificates(base64.b64decode(bundle(server)))
    assert len(authorities) == 2, "another replica may still serve the certificate of before"
    assert authorities[1:] == x509.load_pem_x509_certificates(base64.b64decode(before))[:1]


def bundle(server: MetricsServer) -> str:
    return server.plane.kubectl("get", "apiservice", API_SERVICE, "--output=jsonpath={.spec.caBundle}")


def test_replicas_share_one_certificate(server: MetricsServer) -> None:
    more = [MetricsServer(server.plane, server.namespace, port, server.environment) for port in (free_port(), free_port())]
    before = bundle(server)
    try:
        for each in more:
            each.start()
        seen = [ssl.get_server_certificate(("127.0.0.1", each.port)) for each in (server, *more)]
        assert len(set(seen)) == 1
        assert bundle(server) == before
    finally:
        assert [each.stop() for each in more] == [0, 0]
    assert server.served()


def test_a_foreign_registration_is_left_alone(own_plane: ControlPlane, redis_process: RedisServer) -> None:
    plane = own_plane
    plane.kubectl("apply", "--filename=-", stdin=FOREIGN)
    version = ("get", "apiservice", API_SERVICE, "--output=jsonpath={.spec}{.metadata.labels}")
    before = plane.kubectl(*version)
    server = prepare(plane, redis_process.url)
    try:
        server.start()
        server.until(lambda: f"belongs to {HOLDER}" in server.admin("/readyz")[1], "it says whose it is")
        assert "arklex_metrics_registered 0.0" in server.admin("/metrics")[1]
        assert plane.kubectl(*version) == before
        plane.kubectl("delete", "apiservice", API_SERVICE)
        server.until(server.served, "it takes what is free")
        assert "arklex_metrics_registered 1.0" in server.admin("/metrics")[1]
    finally:
        server.stop()
        plane.kubectl("delete", "apiservice", API_SERVICE, "--ignore-not-found")


def test_a_namespace_takes_its_registration_along(own_plane: ControlPlane, redis_process: RedisServer) -> None:
    plane = own_plane
    with metrics_server(plane, redis_process.url) as server:
        plane.kubectl("delete", "namespace", server.namespace, "--wait=false")
        server.until(lambda: API_SERVICE not in plane.kubectl("get", "apiservices", "--output=name"), "the APIService goes")
        plane.kubectl("wait", "--for=delete", f"namespace/{server.namespace}", "--timeout=90s")
        assert server.stop() == 0
        assert API_SERVICE not in plane.kubectl("get", "apiservices", "--output=name")


@pytest.fixture(scope="module")
def own_plane() -> Iterator[ControlPlane]:
    """A control plane whose external.metrics.k8s.io is nobody's, with the controllers that delete namespaces."""
    with running_control_plane(controllers={}) as plane:
        yield plane
