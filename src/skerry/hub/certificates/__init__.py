"""Signs approved CertificateSigningRequests of people and programs; nodes join through Enrollments."""

from __future__ import annotations

from skerry.hub.certificates.signer import REQUESTS, CertificateSigner

__all__ = ["REQUESTS", "CertificateSigner"]
