"""What a certificate authority does: make keys, read requests, issue certificates. Only the worker imports this.

What stays true: the subject and every extension of what is issued are composed here; of a request only its key is
taken. Certificates of nodes and of the admin are for clients only, the hub's is for a server only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry.trust.der import TrustError

CA_LIFETIME = timedelta(days=365 * 20)
"""As long as the hardware in the field: every node has pinned it."""
SERVER_LIFETIME = timedelta(days=365)
ADMIN_LIFETIME = timedelta(days=365 * 5)
NODE_LIFETIME = timedelta(days=365)
BACKDATED = timedelta(minutes=5)
"""Clocks differ; a certificate that is valid "now" must be valid at a peer that is a little behind."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
OWN_NAMES = "system:"
MAX_GROUPS = 32
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
_CURVES = (ec.SECP256R1, ec.SECP384R1)


def make_key() -> str:
    """Return a new private key (EC P-256) as PEM (PKCS 8, not encrypted)."""
    return _pem_of_key(ec.generate_private_key(ec.SECP256R1()))


def make_request(key_pem: str, common_name: str) -> str:
    """Return a certificate request (PEM) signed with the key: the proof that we hold it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    return _pem(x509.CertificateSigningRequestBuilder().subject_name(name).sign(_load_key(key_pem), hashes.SHA256()))


def request_key_hash(request_pem: str) -> str:
    """Check a request's signature and return the SHA-256 of its public key in hexadecimal; raises TrustError."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(_request_key(request_pem).public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def make_ca(now: datetime) -> tuple[str, str]:
    """Return key and certificate (PEM) of a new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"skerry hub CA {serial & 0xFFFFFFFF:08x}")])
    builder = (
        _builder(name, name, key.public_key(), now, CA_LIFETIME, serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pem_of_key(key), _pem(builder.sign(key, hashes.SHA256()))


def issue_server(ca_key: str, ca_pem: str, names: Sequence[str], now: datetime) -> tuple[str, str]:
    """Return key and certificate (PEM) for the hub under these host names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _leaf(ca_pem, key.public_key(), [(NameOID.COMMON_NAME, "skerry-hub")], ExtendedKeyUsageOID.SERVER_AUTH, now, SERVER_LIFETIME)
    builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
    return _pem_of_key(key), _pem(builder.sign(_load_key(ca_key), hashes.SHA256()))


def issue_client(ca_key: str, ca_pem: str, common_name: str, organization: str, now: datetime) -> tuple[str, str]:
    """Return key and certificate (PEM) of a person or program, in Kubernetes' reading of names: CN is the user, O a group."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common_name)]
    builder = _leaf(ca_pem, key.public_key(), subject, ExtendedKeyUsageOID.CLIENT_AUTH, now, ADMIN_LIFETIME)
    return _pem_of_key(key), _pem(builder.sign(_load_key(ca_key), hashes.SHA256()))


def issue_node(ca_key: str, ca_pem: str, request_pem: str, node: str, now: datetime) -> str:
    """Return a node's certificate (PEM) for the key of its request; nothing else of the request is used."""
    # RFC 5280 allows 64 characters of common name; the hub knows a node by its key, so a longer name may be cut.
    subject = [(NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, f"system:node:{node}"[:64])]
    builder = _leaf(ca_pem, _request_key(request_pem), subject, ExtendedKeyUsageOID.CLIENT_AUTH, now, NODE_LIFETIME)
    return _pem(builder.sign(_load_key(ca_key), hashes.SHA256()))


def issue_requested(ca_key: str, ca_pem: str, request_pem: str, lifetime: timedelta, now: datetime) -> str:
    """Return a client's certificate (PEM) for the key and the names (CN, O) of a request; nothing else of it is used.

    Raises TrustError for names that are the cluster's own to give: everything under `system:`, nodes and masters among them.
    """
    request = _read_request(request_pem)
    name, groups = _subject(request)
    own = sorted(n for n in (name, *groups) if n.lower().startswith(OWN_NAMES))
    if own:
        raise TrustError(f"{', '.join(own)}: names under {OWN_NAMES} are not given by a certificate request")
    subject = [*((NameOID.ORGANIZATION_NAME, group) for group in groups), (NameOID.COMMON_NAME, name)]
    builder = _leaf(ca_pem, _sound_key(request), subject, ExtendedKeyUsageOID.CLIENT_AUTH, now, lifetime)
    return _pem(builder.sign(_load_key(ca_key), hashes.SHA256()))


def _read_request(request_pem: str) -> x509.CertificateSigningRequest:
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
        sound = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(f"not a certificate request: {error}") from error
    if not sound:
        raise TrustError("the request is not signed with its own key")
    return request


def _subject(request: x509.CertificateSigningRequest) -> tuple[str, tuple[str, ...]]:
    names = [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(dict.fromkeys(str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)))
    if len(names) != 1 or not names[0].strip() or len(groups) > MAX_GROUPS:
        raise TrustError(f"the request's subject needs exactly one common name, and at most {MAX_GROUPS} organizations")
    odd = [n for n in (names[0], *groups) if n != n.strip() or not n.isprintable()]
    if odd:  # a name is compared byte by byte here, and trimmed by whoever gets it in a header
        raise TrustError(f"{', '.join(map(ascii, odd))}: names have no blanks at their ends, and nothing that cannot be seen")
    return names[0], groups


def _sound_key(request: x509.CertificateSigningRequest) -> PublicKey:
    key = request.public_key()
    if isinstance(key, rsa.RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return key
    if isinstance(key, ed25519.Ed25519PublicKey) or (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)):
        return key
    raise TrustError(f"the request's key is none of RSA ({MIN_RSA_BITS} to {MAX_RSA_BITS} bits), EC (P-256, P-384) and Ed25519")


def _request_key(request_pem: str) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
        key = request.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
            raise TrustError("the request's key is not an elliptic curve key on P-256 or P-384")
        key.verify(request.signature, request.tbs_certrequest_bytes, ec.ECDSA(_hash_of(request)))
    except TrustError:
        raise
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise TrustError(f"not a certificate request signed with its own key: {str(error) or type(error).__name__}") from error
    return key


def _hash_of(request: x509.CertificateSigningRequest) -> hashes.HashAlgorithm:
    algorithm = request.signature_hash_algorithm
    if not isinstance(algorithm, (hashes.SHA256, hashes.SHA384, hashes.SHA512)):
        raise TrustError("the request is not signed with SHA-256, SHA-384 or SHA-512")
    return algorithm


def _leaf(
    ca_pem: str,
    key: PublicKey,
    subject: Sequence[tuple[x509.ObjectIdentifier, str]],
    purpose: x509.ObjectIdentifier,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    ca = x509.load_pem_x509_certificate(ca_pem.encode())
    name = x509.Name([x509.NameAttribute(oid, text) for oid, text in subject])
    lifetime = min(lifetime, ca.not_valid_after_utc - now)
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(name, ca.subject, key, now, lifetime, x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, now: datetime, lifetime: timedelta, serial: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key).serial_number(serial)
    return builder.not_valid_before(now - BACKDATED).not_valid_after(now + lifetime)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return x509.DNSName(text)


def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(f"not a private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TrustError("the private key is not an elliptic curve key")
    return key


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _pem(thing: x509.Certificate | x509.CertificateSigningRequest) -> str:
    return thing.public_bytes(serialization.Encoding.PEM).decode()
