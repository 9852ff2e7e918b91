"""The certificate by which other API servers know that a request was handed on by us; made when the first of them is named.

The CA signs nothing else and its key is thrown away: when the certificate runs out, or a file is lost, both are made anew and
published in the ConfigMap `extension-apiserver-authentication`, where extension servers look.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

NAME = "front-proxy-client"
LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=60)


class FrontProxy:
    """The files in one folder; without a folder they live as long as the process."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock = asyncio.Lock()

    async def files(self) -> tuple[Path, Path]:
        """Return the certificate's and its key's file, made when they are not there or run out soon."""
        async with self._lock:
            folder = self._place()
            certificate, key = folder / "client.pem", folder / "client.key"
            if not await asyncio.to_thread(_good, certificate, key):
                await asyncio.to_thread(_make, folder)
            return certificate, key

    async def ca(self) -> str:
        """Return the CA's certificate."""
        certificate, _ = await self.files()
        return certificate.with_name("ca.pem").read_text()

    def _place(self) -> Path:
        if self._folder is not None:
            return self._folder
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="skerry-front-proxy-")
        return Path(self._temporary.name)

    def close(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None


def _good(certificate: Path, key: Path) -> bool:
    if not (certificate.exists() and key.exists() and certificate.with_name("ca.pem").exists()):
        return False
    from cryptography import x509

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)
        ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (ValueError, ssl.SSLError):
        return False
    return ends - datetime.now(UTC) > RENEW_BEFORE


def _make(folder: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "front-proxy-ca")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    usage = {"key_encipherment": False, "content_commitment": False, "data_encipherment": False, "key_agreement": False}
    usage |= {"encipher_only": False, "decipher_only": False}

    def signed(name: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + LIFE)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, **usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    root = signed(issuer, ca_key.public_key(), ca=True).sign(ca_key, hashes.SHA256())
    leaf = signed(subject, key.public_key(), ca=False).add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder / "ca.pem", root.public_bytes(encoding))
    _write(folder / "client.key", private)
    _write(folder / "client.pem", leaf.sign(ca_key, hashes.SHA256()).public_bytes(encoding))


def _write(path: Path, blob: bytes) -> None:
    """Write a file that is whole or not there, for us alone."""
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
