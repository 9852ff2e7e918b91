"""Who may do what: certificates and tokens, RBAC, the node rule, certificate requests, the audit log."""
