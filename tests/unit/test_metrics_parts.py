"""The parts of arklex-metrics that need no server: certificates, callers, options, documents."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from arklex_operator.metrics import documents
from arklex_operator.metrics.callers import (
    HPA_CONTROLLER,
    FrontProxy,
    may_read,
    read_front_proxy,
    server_context,
    trusted,
    user,
)
from arklex_operator.metrics.certificates import LIFETIME, Identity, issue
from arklex_operator.metrics.options import read_options

HOSTS = ("arklex-metrics.arklex.svc", "arklex-metrics.arklex.svc.cluster.local")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_certificate_is_verified_by_its_bundle() -> None:
    made, authority = issue(HOSTS), issue(HOSTS)
    proxy = FrontProxy(authority.bundle, frozenset(), ())
    client, server = ssl.create_default_context(cadata=made.bundle), server_context(made, proxy)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=HOSTS[0]),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert ends[0].version() == "TLSv1.3"
    assert ends[1].getpeercert() is None


def test_it_is_renewed_when_two_thirds_are_over_and_the_last_ca_stays() -> None:
    first = issue(HOSTS, NOW)
    assert first.ends() == NOW + LIFETIME
    assert first.usable(HOSTS, NOW + LIFETIME * 2 / 3 - timedelta(seconds=1))
    assert not first.usable(HOSTS, NOW + LIFETIME * 2 / 3)
    second = issue(HOSTS, NOW + LIFETIME * 2 / 3, before=first)
    assert len(x509.load_pem_x509_certificates(second.bundle.encode())) == 2
    assert second.bundle.endswith(first.bundle)
    third = issue(HOSTS, NOW + LIFETIME, before=second)
    assert first.bundle not in third.bundle


def test_what_is_not_whole_is_not_used() -> None:
    made, other = issue(HOSTS, NOW), issue(HOSTS, NOW)
    for broken in (
        Identity("", "", ""),
        Identity(made.bundle, made.certificate, other.key),
        Identity(other.bundle, made.certificate, made.key),
        Identity("nonsense", made.certificate, made.key),
    ):
        assert not broken.usable(HOSTS, NOW)
        assert issue(HOSTS, NOW, before=broken).usable(HOSTS, NOW)
    assert not made.usable(("elsewhere.svc",), NOW)


def test_the_front_proxy_is_known_by_name() -> None:
    data = {"requestheader-client-ca-file": "-----BEGIN CERTIFICATE-----", "requestheader-allowed-names": '["front"]'}
    proxy = read_front_proxy({"data": data})
    certificate = {"subject": ((("organizationName", "x"),), (("commonName", "front"),))}
    assert trusted(proxy, certificate)
    assert not trusted(proxy, {"subject": ((("commonName", "admin"),),)})
    assert not trusted(proxy, None)
    assert not trusted(None, certificate)
    assert trusted(FrontProxy("", frozenset(), ()), {"subject": ((("commonName", "any"),),)})
    assert user(proxy, {"X-Remote-User": "u"}) == "u"
    assert user(None, {"X-Remote-User": "u"}) is None
    with pytest.raises(ValueError, match="--requestheader-client-ca-file"):
        read_front_proxy({"data": {}})


def test_readers_are_the_hpa_controller_and_who_is_named() -> None:
    assert may_read(HPA_CONTROLLER)
    assert may_read("auditor", {"auditor"})
    assert not may_read("auditor")
    assert not may_read(None, {"auditor"})


def test_options_are_read_and_mistakes_named() -> None:
    options = read_options(
        {"ARKLEX_REDIS_URL": "redis://r", "POD_NAMESPACE": "arklex", "ARKLEX_NAMESPACES": "a, b", "ARKLEX_METRICS_READERS": "x"}
    )
    assert (options.hosts, options.port, options.service_port, options.admin_port) == (HOSTS, 6443, 443, 9090)
    assert (options.namespaces, options.readers, options.redis_password_file) == (("a", "b"), frozenset({"x"}), None)
    with pytest.raises(ValueError, match="ARKLEX_REDIS_URL is not set"):
        read_options({})
    with pytest.raises(ValueError, match="ARKLEX_API_PORT is 'x'"):
        read_options({"ARKLEX_REDIS_URL": "redis://r", "POD_NAMESPACE": "arklex", "ARKLEX_API_PORT": "x"})
    file = read_options({"ARKLEX_REDIS_URL": "r", "POD_NAMESPACE": "a", "ARKLEX_REDIS_PASSWORD_FILE": "/p"}).redis_password_file
    assert file == Path("/p")


def test_selectors_name_one_worker_or_all() -> None:
    assert [documents.selected(text) for text in ("", "arklex.ai/worker=a", "arklex.ai/worker==a")] == [None, "a", "a"]
    for wrong in ("app=a", "arklex.ai/worker", "arklex.ai/worker=a,b=c", "arklex.ai/worker="):
        with pytest.raises(ValueError, match="write arklex"):
            documents.selected(wrong)
