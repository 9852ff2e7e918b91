"""ValidatingAdmissionPolicies: rules in CEL about writes of any kind."""

from skerry.apiserver.policies.judging import Policies
from skerry.apiserver.policies.policy import BINDINGS, POLICIES, binding_causes, policy_causes

__all__ = ["BINDINGS", "POLICIES", "Policies", "binding_causes", "policy_causes"]
