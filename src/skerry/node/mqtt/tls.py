"""TLS for the MQTT listener: 1.3, and 1.2 with forward secrecy since small boards need it."""

from __future__ import annotations

import ssl
from pathlib import Path


def listener_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the listener's settings from PEM files; raises OSError or ssl.SSLError when they do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.load_cert_chain(certificate, key)
    return context
