"""The audit log: who did what, one JSON line each, chained so that a changed, cut, moved or removed line is found."""

from __future__ import annotations

from skerry.apiserver.access.audit.log import AuditLog
from skerry.apiserver.access.audit.recorder import Auditor
from skerry.apiserver.access.audit.verify import Verdict, verify

__all__ = ["AuditLog", "Auditor", "Verdict", "verify"]
