"""The serving certificate of the metrics API and the CA that signs it, both made here and renewed before they end.

A CA signs one certificate and its key is thrown away; the next certificate comes with a next CA. The bundle holds the last two,
so that a replica which still serves the old certificate is trusted while the other serves the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=90)
MARGIN = timedelta(hours=1)
"""How far the clocks of a cluster may differ: a certificate is valid from an hour before it is made."""


@dataclass(frozen=True, slots=True)
class Identity:
    """PEM texts: the CAs that clients trust (newest first), the certificate, its key."""

    bundle: str
    certificate: str
    key: str

    def ends(self) -> datetime:
        """When the certificate ends (UTC)."""
        return x509.load_pem_x509_certificate(self.certificate.encode()).not_valid_after_utc

    def usable(self, hosts: Sequence[str], now: datetime, lifetime: timedelta = LIFETIME) -> bool:
        """Whether it serves all of ``hosts``, belongs to its key and CA, and lasts for more than a third of a lifetime."""
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate.encode())
            key = serialization.load_pem_private_key(self.key.encode(), None)
            authorities = x509.load_pem_x509_certificates(self.bundle.encode())
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            certificate.verify_directly_issued_by(authorities[0])
        except (ValueError, TypeError, IndexError, InvalidSignature, x509.ExtensionNotFound):
            return False
        served = set(names.get_values_for_type(x509.DNSName))
        mine = certificate.public_key() == key.public_key()
        return mine and served >= set(hosts) and now < certificate.not_valid_after_utc - lifetime / 3


def issue(
    hosts: Sequence[str], now: datetime | None = None, *, before: Identity | None = None, lifetime: timedelta = LIFETIME
) -> Identity:
    """Make a CA and a certificate for ``hosts``; the newest CA of ``before`` stays in the bundle."""
    now = now or datetime.now(UTC)
    key, authority_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"arklex-metrics-ca@{int(now.timestamp())}")])
    ca = (
        _builder(authority, authority, authority_key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    certificate = (
        _builder(subject, authority, key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Identity(_pem(ca) + _newest(before), _pem(certificate), _key_pem(key))


def _newest(before: Identity | None) -> str:
    try:
        return _pem(x509.load_pem_x509_certificates(before.bundle.encode())[0]) if before else ""
    except ValueError:  # somebody wrote something else into our Secret
        return ""


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - MARGIN)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
