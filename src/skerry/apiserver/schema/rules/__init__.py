"""Field rules of built-in kinds, one module a group of kinds, one pure function a kind: (obj, old, causes, subresource).

They append causes in Kubernetes' words and order. What users of kubectl meet is here; rarer rules of Kubernetes are not.
Source: pkg/apis/*/validation of Kubernetes 1.32, and its recorded answers.
"""
