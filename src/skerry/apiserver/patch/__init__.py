"""Patches, pure: JSON (RFC 6902), merge (RFC 7386), strategic merge and server-side apply (Kubernetes' own).

Each takes a document and a decoded patch and returns a new document; the one given is never changed, and nothing is shared
with the patch. Limits hold before work is done. Errors are ApiError with the code and words that Kubernetes answers.
"""

from __future__ import annotations

from skerry.apiserver.patch.apply import KUBECTL, Applied, apply, configured, told_kind, with_last_applied
from skerry.apiserver.patch.body import read_json_patch, read_merge_patch
from skerry.apiserver.patch.copying import copied, same
from skerry.apiserver.patch.fields import Fields, has
from skerry.apiserver.patch.json_patch import json_patch
from skerry.apiserver.patch.managers import Entry, Writer, is_reset, read_entries, same_but_times, updated
from skerry.apiserver.patch.merge import merge
from skerry.apiserver.patch.strategic import strategic
from skerry.apiserver.patch.types import Type, type_of

__all__ = [
    "KUBECTL",
    "Applied",
    "Entry",
    "Fields",
    "Type",
    "Writer",
    "apply",
    "configured",
    "copied",
    "has",
    "is_reset",
    "json_patch",
    "merge",
    "read_entries",
    "read_json_patch",
    "read_merge_patch",
    "same",
    "same_but_times",
    "strategic",
    "told_kind",
    "type_of",
    "updated",
    "with_last_applied",
]
