"""ValidatingAdmissionPolicies and Pod security."""
