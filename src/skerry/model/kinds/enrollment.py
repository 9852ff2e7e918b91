"""Enrollment: a node asks to join. There is no second way in.

The hub writes it when a node asks; people decide (`spec.decision`) and say what the node is (`spec.site`, `spec.labels`).
What the node claimed never changes afterwards: the decision is about exactly this key. Denial follows the key.
"""

from __future__ import annotations

import re
from typing import Any

from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required
from skerry.model.kinds.definition import Column, Definition, Lookup, conditions_schema
from skerry.model.names import dns_subdomain_error, label_value_error, qualified_name_error
from skerry.model.objects import Object, dig, name_of
from skerry.model.resources import ENROLLMENTS, SITE_LABEL, SITES

PENDING, APPROVED, DENIED = "Pending", "Approved", "Denied"
DECISIONS = (PENDING, APPROVED, DENIED)
CLAIMED = ("nodeName", "keyHash", "csr", "hardware", "token")
"""The fields of `spec` that the node asked with; they are fixed from the start."""
MAX_LABELS = 64

_KEY_HASH = re.compile(r"[0-9a-f]{64}")


def object_name(node: str, key_hash: str) -> str:
    """Return the Enrollment's name for this node name and key: one node may ask again with a new key."""
    return f"{node}-{key_hash[:10]}"


def node_name_error(node: str) -> str | None:
    """Return what is wrong with a node's name, or None: its Enrollment's name must still fit."""
    return dns_subdomain_error(node) or (f"must be no more than 200 characters, this has {len(node)}" if len(node) > 200 else None)


def admit(new: Object, old: Object | None, lookup: Lookup) -> list[Cause]:
    """Judge an Enrollment: claims never change, a decision is never taken back to Pending, labels are ours to allow."""
    spec = dig(new, "spec", default={})
    before = dig(old, "spec", default={}) if old else {}
    return [*_claims(new, spec), *_unchanged(spec, before), *_decision(spec, before), *_site(spec, before, lookup), *_labels(spec)]


def _claims(new: Object, spec: dict[str, Any]) -> list[Cause]:
    node, key_hash = spec.get("nodeName") or "", spec.get("keyHash") or ""
    if not node or not key_hash:
        return [required(f"spec.{f}") for f in ("nodeName", "keyHash") if not spec.get(f)]
    causes = []
    wrong = node_name_error(node)
    if wrong:
        causes.append(invalid_value("spec.nodeName", node, wrong))
    if not _KEY_HASH.fullmatch(key_hash):
        causes.append(invalid_value("spec.keyHash", key_hash, "must be the SHA-256 of the public key as 64 lower-case hexadecimal digits"))
    elif name_of(new).name != object_name(node, key_hash):
        causes.append(invalid_value("metadata.name", name_of(new).name, f"must be {object_name(node, key_hash)}: node name and key"))
    return causes


def _unchanged(spec: dict[str, Any], before: dict[str, Any]) -> list[Cause]:
    if not before:
        return []
    changed = [f for f in CLAIMED if spec.get(f) != before.get(f)]
    return [
        forbidden_field(f"spec.{f}", "what the node asked with cannot be changed; deny it, and let the node ask again") for f in changed
    ]


def _decision(spec: dict[str, Any], before: dict[str, Any]) -> list[Cause]:
    decision = spec.get("decision", PENDING)
    if decision not in DECISIONS:
        return [not_supported("spec.decision", decision, list(DECISIONS))]
    if decision == PENDING and before.get("decision", PENDING) != PENDING:
        return [forbidden_field("spec.decision", f"{before['decision']} cannot go back to Pending; set Approved or Denied")]
    return []


def _site(spec: dict[str, Any], before: dict[str, Any], lookup: Lookup) -> list[Cause]:
    site = spec.get("site") or ""
    if not site or site == before.get("site"):
        return []
    if lookup(SITES, "", site) is None:
        return [invalid_value("spec.site", site, "there is no such Site; create it first, or leave the field out")]
    return []


def labels_errors(labels: dict[str, str], field: str = "spec.labels") -> list[Cause]:
    """Judge labels that people want on a node; `skerry.dev/*` is set by the hub from other fields."""
    if len(labels) > MAX_LABELS:
        return [invalid_value(field, len(labels), f"must have no more than {MAX_LABELS} labels")]
    causes = []
    for key, value in labels.items():
        wrong = qualified_name_error(key) or label_value_error(value)
        if wrong:
            causes.append(invalid_value(f"{field}[{key}]", value, wrong))
        elif key == SITE_LABEL:
            causes.append(forbidden_field(f"{field}[{key}]", "set spec.site instead"))
        elif key.partition("/")[0].endswith("skerry.dev") or key == "kubernetes.io/hostname":
            causes.append(forbidden_field(f"{field}[{key}]", "this label is set by the hub and the node software"))
    return causes


def _labels(spec: dict[str, Any]) -> list[Cause]:
    labels = spec.get("labels") or {}
    return labels_errors(labels) if isinstance(labels, dict) else []


_HARDWARE: dict[str, Any] = {
    "type": "object",
    "description": "What the machine says about itself. It is a claim, not a proof.",
    "properties": {
        name: {"type": "string", "maxLength": 256}
        for name in ("architecture", "hostname", "kernel", "machineID", "operatingSystem", "product", "serial")
    },
}

_SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["nodeName", "keyHash", "csr"],
    "properties": {
        "nodeName": {"type": "string", "maxLength": 200, "description": "The name that the node asks for."},
        "keyHash": {"type": "string", "maxLength": 64, "description": "SHA-256 of the node's public key (SPKI, DER) in hexadecimal."},
        "csr": {"type": "string", "maxLength": 8192, "description": "The certificate request (PEM); its signature proves the key."},
        "hardware": _HARDWARE,
        "token": {"type": "string", "maxLength": 64, "description": "The id of the token that the node brought; never its secret."},
        "decision": {
            "type": "string",
            "enum": list(DECISIONS),
            "default": PENDING,
            "description": "Set Approved and the certificate is issued; set Denied and the key is shut out within seconds.",
        },
        "site": {"type": "string", "maxLength": 63, "description": "The Site that the node belongs to."},
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "string", "maxLength": 63},
            "description": "Labels that the hub sets on the Node.",
        },
    },
}

_STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "phase": {"type": "string", "enum": list(DECISIONS), "description": "What the hub has carried out."},
        "certificate": {"type": "string", "maxLength": 16384, "description": "The node's certificate (PEM)."},
        "observedGeneration": {"type": "integer", "format": "int64"},
        "conditions": conditions_schema(),
    },
}

DEFINITION = Definition(
    resource=ENROLLMENTS,
    singular="enrollment",
    categories=("skerry",),
    schema={
        "type": "object",
        "description": "A node asks to join.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _SPEC,
            "status": _STATUS,
        },
    },
    columns=(
        Column("Node", ".spec.nodeName"),
        Column("Decision", ".spec.decision"),
        Column("Phase", ".status.phase"),
        Column("Site", ".spec.site"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Key", ".spec.keyHash", wide=True),
        Column("Hardware", ".spec.hardware.product", wide=True),
    ),
    selectable_fields=(".spec.nodeName", ".spec.keyHash", ".spec.decision"),
    admit=admit,
)
