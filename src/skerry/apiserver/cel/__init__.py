"""The Common Expression Language as Kubernetes uses it: programs, and what they are used for in CRDs, policies and webhooks."""

from skerry.apiserver.cel.errors import CelSyntaxError, CostError, EvaluationError
from skerry.apiserver.cel.program import CelProgram

__all__ = ["CelProgram", "CelSyntaxError", "CostError", "EvaluationError"]
