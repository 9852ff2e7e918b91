"""How nodes join: what `/enroll` answers, the tokens it takes, and the loop that carries out what people decided."""

from __future__ import annotations

from skerry.hub.enrollment.desk import EnrollmentDesk
from skerry.hub.enrollment.reconciler import EnrollmentReconciler

__all__ = ["EnrollmentDesk", "EnrollmentReconciler"]
