"""Certificates of a control plane: one authority for all, made once per folder."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=3650)


class Authority:
    """Issues certificates into ``folder`` as NAME.crt and NAME.key; what exists is kept."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        if not self.certificate.exists():
            key = self._new_key("ca")
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "arklex-bed")])
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = self._builder(name, name, key).add_extension(x509.BasicConstraints(True, None), True)
            identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            self._write("ca", builder.add_extension(usage, True).add_extension(identifier, False).sign(key, hashes.SHA256()))
        if not (folder / "sa.pub").exists():
            public = self._new_key("sa").public_key()
            form = serialization.PublicFormat.SubjectPublicKeyInfo
            (folder / "sa.pub").write_bytes(public.public_bytes(serialization.Encoding.PEM, form))

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self.folder / "ca.crt"

    def issue(self, name: str, common_name: str, groups: Iterable[str] = (), hosts: Iterable[str] = ()) -> None:
        """Make a certificate for a server (``hosts``: names and addresses) and client (``groups``)."""
        if (self.folder / f"{name}.crt").exists():
            return
        issuer_key = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        key = self._new_key(name)
        subject = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
            + [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        )
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(subject, issuer.subject, key).add_extension(x509.ExtendedKeyUsage(usages), False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(identifier, False)
        if alternatives := [_alternative(host) for host in hosts]:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        self._write(name, builder.sign(issuer_key, hashes.SHA256()))

    def kubeconfig(self, name: str, server: str, context: str = "bed") -> Path:
        """Write NAME.kubeconfig for a certificate that was issued; return its path."""
        files = {
            "client-certificate": str(self.folder / f"{name}.crt"),
            "client-key": str(self.folder / f"{name}.key"),
        }
        cluster = {"server": server, "certificate-authority": str(self.certificate)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": name, "user": files}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": name}}],
            "current-context": context,
        }
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def _new_key(self, name: str) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        form, none = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        path = self.folder / f"{name}.key"
        path.touch(mode=0o600)
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
        return key

    def _builder(self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + LIFETIME)

    def _write(self, name: str, certificate: x509.Certificate) -> None:
        (self.folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
