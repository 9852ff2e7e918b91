"""The expressions of CRDs, policies and webhooks."""
