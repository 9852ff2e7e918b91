"""Tells from how a connection ended whether the hub refused our certificate or our key. Pure."""

from __future__ import annotations

from enum import Enum

from skerry.link import CLOSED_UNHEARD
from skerry.link.control import DENIED, EXPIRED, NOT_ENROLLED


class Refusal(Enum):
    """Why the hub sent us away."""

    CERTIFICATE = "the hub does not take the certificate any more"
    KEY = "the hub denied this key"
    UNKNOWN = "the hub has no enrollment for this key"


def refusal_of(reason: str) -> Refusal | None:
    """Return what the end of a connection says about us, None when it was something else (most often just the network)."""
    if DENIED in reason:
        return Refusal.KEY
    if NOT_ENROLLED in reason:
        return Refusal.UNKNOWN
    if EXPIRED in reason:
        return Refusal.CERTIFICATE
    if reason == CLOSED_UNHEARD:
        return Refusal.CERTIFICATE  # perhaps: asking for the certificate again costs one request and tells
    upper = reason.upper()
    # OpenSSL: "sslv3 alert certificate expired", "tlsv1 alert unknown ca", "tlsv13 alert certificate required"
    if "ALERT" in upper and ("CERTIFICATE" in upper or "UNKNOWN CA" in upper or "UNKNOWN_CA" in upper):
        return Refusal.CERTIFICATE
    return None
