"""The TLS settings of both ends. TLS 1.3 only, our own CA only, names checked, no session is ever resumed.

A node does not look at the dates of the hub's certificate: it has pinned the hub's CA, and its own clock may be decades
off (a dead battery). The hub looks at the dates of its clients' after the handshake (`end_of`): whoever runs past the end
is refused by name, and a beginning that is still to come says only that the hub's own clock is behind, since it made the certificate.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from skerry.trust.der import TrustError, facts_of

_NO_CHECK_TIME = 0x200000
_CHECK_ROOT = 0x4000
"""X509_V_FLAG_NO_CHECK_TIME and X509_V_FLAG_CHECK_SS_SIGNATURE of OpenSSL; Python has no names for them."""


def hub_context(ca_file: Path, identity_file: Path, protocols: Sequence[str]) -> ssl.SSLContext:
    """Return the hub's settings: a client may show a certificate of our CA; whether it has run out the caller asks `end_of`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity_file)
    context.load_verify_locations(ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    context.num_tickets = 0
    context.set_alpn_protocols(list(protocols))
    return context


def end_of(der: bytes) -> datetime:
    """Return when a certificate in DER runs out; one that cannot be read ran out long ago."""
    try:
        return facts_of(der).not_after
    except TrustError:
        return datetime.min.replace(tzinfo=UTC)


def client_context(
    ca_pem: str, *, certificate: Path | None = None, key: Path | None = None, protocols: Sequence[str] = ("http/1.1",), dates: bool = True
) -> ssl.SSLContext:
    """Return a client's settings towards the hub whose CA this is; `dates=False` ignores when certificates are valid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca_pem)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    if not dates:
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    context.set_alpn_protocols(list(protocols))
    return context


def require_sound(ca: Path, ca_key: Path) -> None:
    """Raise ssl.SSLError or ValueError unless the CA's certificate is as it was signed and the key is its key."""
    authority = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.load_cert_chain(ca, ca_key)
    rehearse(authority, unverified_context())
    client_context(ca.read_text("ascii"))


def rehearse(hub: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Shake hands in memory; raises ssl.SSLError when a key is not its certificate's, or a certificate not of the CA.

    What a flipped bit leaves readable is found this way, and by nothing cheaper: it takes two milliseconds. For which names the
    certificate was issued does not matter here.
    """
    client.check_hostname = False
    client.verify_flags |= ssl.VerifyFlags(_CHECK_ROOT | _NO_CHECK_TIME)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there, server_hostname="localhost"), hub.wrap_bio(there, back, server_side=True)]
    for end in (*ends, *ends):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()


def unverified_context() -> ssl.SSLContext:
    """Return settings that trust anybody: only to fetch the hub's CA, whose hash is checked, and never to send a secret."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
