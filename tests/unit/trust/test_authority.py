"""What the authority issues, and what it takes from a request: the key alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry.trust import TrustError
from skerry.trust.authority import issue_node, issue_server, make_ca, make_key, make_request, request_key_hash

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
CA = make_ca(NOW)


def a_greedy_request() -> str:
    """A request that asks to be an administrator, a CA and a server of other names."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"), x509.NameAttribute(NameOID.COMMON_NAME, "admin")])
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hub.example.org")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    pem = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes
    from cryptography.hazmat.primitives.serialization import Encoding

    return pem(Encoding.PEM).decode()


def test_nothing_but_the_key_of_a_request_gets_into_a_nodes_certificate() -> None:
    certificate = x509.load_pem_x509_certificate(issue_node(*CA, a_greedy_request(), "node-a", NOW).encode())

    assert certificate.subject.rfc4514_string() == "CN=system:node:node-a,O=system:nodes"
    assert [e.oid._name for e in certificate.extensions] == ["basicConstraints", "keyUsage", "extendedKeyUsage", "authorityKeyIdentifier"]
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_the_hub_certificate_names_hosts_and_addresses() -> None:
    _, pem = issue_server(*CA, ["hub.example.org", "127.0.0.1", "[::1]"], NOW)

    names = x509.load_pem_x509_certificate(pem.encode()).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["hub.example.org"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_a_request_whose_signature_is_wrong_is_refused() -> None:
    from skerry.trust import pem_to_der

    raw = bytearray(pem_to_der(make_request(make_key(), "x"), "CERTIFICATE REQUEST"))
    raw[-1] ^= 1
    import base64

    pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.b64encode(bytes(raw)).decode()}\n-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(TrustError):
        request_key_hash(pem)


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"])
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(TrustError):
        request_key_hash(text)


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()])
def test_other_kinds_of_keys_are_refused(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())

    with pytest.raises(TrustError, match="elliptic curve"):
        request_key_hash(request.public_bytes(Encoding.PEM).decode())


def test_a_request_signed_with_sha_1_or_cut_is_refused() -> None:
    request = make_request(make_key(), "x")

    with pytest.raises(TrustError):
        request_key_hash(request[: len(request) // 2])
