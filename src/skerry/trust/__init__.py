"""Keys and certificates: the hub's own CA, what it issues, and the TLS settings of both ends.

Nothing here imports cryptography but `authority`, and only the short-lived worker process (`python -m
skerry.trust.worker`) imports that: hub and node stay small, and the CA's key is never in the hub's memory.
"""

from __future__ import annotations

from skerry.trust.der import CertificateFacts, TrustError, facts_of, facts_of_pem, key_hash, pem_to_der
from skerry.trust.files import create_private, replace_private
from skerry.trust.workshop import Workshop, WorkshopError

__all__ = [
    "CertificateFacts",
    "TrustError",
    "Workshop",
    "WorkshopError",
    "create_private",
    "facts_of",
    "facts_of_pem",
    "key_hash",
    "pem_to_der",
    "replace_private",
]
