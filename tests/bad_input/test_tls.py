"""Input 10: handshakes that are wrong, and certificates that are. Each is refused in the handshake, or taken for nobody's."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.bad_input.asking import MAX_BLOCK_S, MAX_GROWTH_KIB, STRANGER, Server, read_all, request, status_of

SECRETS = "/api/v1/secrets"


def pem(key: ec.EllipticCurvePrivateKey, *certificates: x509.Certificate) -> bytes:
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


class Forger:
    """Makes certificates under a CA, as wrong as one likes."""

    def __init__(self, ca: trustme.CA) -> None:
        loaded = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self.key, self.issuer = loaded, x509.load_pem_x509_certificate(ca.cert_pem.bytes())

    def leaf(self, *, ends: timedelta = timedelta(days=1), usage: x509.ObjectIdentifier | None = None, sans: int = 0) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        made = self.builder(key, "admin", ends=ends)
        if usage is not None:
            made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        if sans:
            names = [x509.IPAddress(ipaddress.IPv4Address(i)) for i in range(sans)]
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return pem(key, made.sign(self.key, hashes.SHA256()))

    def builder(
        self, key: ec.EllipticCurvePrivateKey, name: str, *, ends: timedelta, issuer: x509.Name | None = None
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters")]
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(issuer or self.issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + ends)
        )

    def chain(self, length: int) -> bytes:
        """Return a leaf below *length* CAs of which the first is signed by the real one."""
        above, name = self.key, self.issuer.subject
        found: list[x509.Certificate] = []
        for i in range(length):
            key = ec.generate_private_key(ec.SECP256R1())
            made = self.builder(key, f"ca-{i}", ends=timedelta(days=1), issuer=name)
            made = made.add_extension(x509.BasicConstraints(ca=i < length - 1, path_length=None), critical=True)
            found.insert(0, made.sign(above, hashes.SHA256()))
            above, name = key, found[0].subject
        return pem(above, *found)


FORGED: dict[str, Callable[[Forger], bytes]] = {
    "that has run out": lambda f: f.leaf(ends=timedelta(days=-1)),
    "for servers": lambda f: f.leaf(usage=ExtendedKeyUsageOID.SERVER_AUTH),
    "of a CA that nobody knows": lambda _: Forger(trustme.CA(key_type=trustme.KeyType.ECDSA)).leaf(),
    "below a hundred CAs": lambda f: f.chain(100),
    "with 16,000 names": lambda f: f.leaf(sans=16_000, usage=ExtendedKeyUsageOID.SERVER_AUTH),
}


@pytest.mark.slow
@pytest.mark.parametrize("which", FORGED)
def test_a_certificate_that_is_wrong_gives_nothing(hostile: Server, tmp_path: Path, which: str) -> None:
    file = tmp_path / "forged.pem"
    file.write_bytes(FORGED[which](Forger(hostile.ca())))
    context = hostile.context(STRANGER)
    context.load_cert_chain(file)

    before = hostile.mark()
    answer = asked(hostile, context)
    after = hostile.mark()

    assert status_of(answer) in (0, 401, 403), answer[:300]
    healthy(before, after)


def asked(hostile: Server, context: ssl.SSLContext) -> bytes:
    try:
        with hostile.connect(context) as connection:
            connection.sendall(request("GET", SECRETS))
            return read_all(connection)
    except OSError:
        return b""  # refused in the handshake


def healthy(before: dict[str, float], after: dict[str, float]) -> None:
    assert after["revision"] == before["revision"]
    assert after["peak_kib"] - before["peak_kib"] < MAX_GROWTH_KIB
    assert after["worst_s"] / after["factor"] <= MAX_BLOCK_S


@pytest.mark.slow
def test_without_a_server_name_and_with_a_foreign_protocol_the_answer_is_http(hostile: Server) -> None:
    nameless, foreign = hostile.context(), hostile.context()
    foreign.set_alpn_protocols(["h2", "smtp"])

    with hostile.connect(nameless, name=None) as connection:
        connection.sendall(request("GET", "/version"))
        assert status_of(read_all(connection)) == 200
    assert status_of(asked(hostile, foreign)) in (0, 200)


HELLO = b"\x16\x03\x01"
BYTES = {
    "plain HTTP": request("GET", SECRETS),
    "a record of 64 KiB": HELLO + b"\xff\xff" + bytes(65_535),
    "a hello that lies about its length": HELLO + struct.pack(">H", 512) + b"\x01\xff\xff\xff" + bytes(508),
    "SSL 2": b"\x80\x2e\x01\x00\x02" + bytes(44),
    "an alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "nothing but noise": bytes(range(256)) * 64,
}


@pytest.mark.slow
@pytest.mark.parametrize("which", BYTES)
def test_what_is_no_handshake_is_closed(hostile: Server, which: str) -> None:
    before = hostile.mark()
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=30) as raw:
        answer = b""
        try:
            raw.sendall(BYTES[which])
            raw.shutdown(socket.SHUT_WR)
            while chunk := raw.recv(4096):
                answer += chunk
        except ConnectionError:
            pass
    after = hostile.mark()

    assert b"HTTP/1.1 2" not in answer
    healthy(before, after)
