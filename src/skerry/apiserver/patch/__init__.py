"""Patches, pure: JSON (RFC 6902), merge (RFC 7386) and strategic merge (Kubernetes' own).

Each takes a document and a decoded patch and returns a new document; the one given is never changed, and nothing is shared
with the patch. Limits hold before work is done. Errors are ApiError with the code and words that Kubernetes answers.
"""

from __future__ import annotations

from skerry.apiserver.patch.body import read_json_patch, read_merge_patch
from skerry.apiserver.patch.json_patch import json_patch
from skerry.apiserver.patch.merge import merge
from skerry.apiserver.patch.strategic import strategic

__all__ = ["json_patch", "merge", "read_json_patch", "read_merge_patch", "strategic"]
