"""What follows from an Enrollment: its status, and the labels of its Node. Pure: planning again afterwards changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from skerry.model.conditions import with_condition
from skerry.model.kinds.enrollment import APPROVED, DENIED, PENDING
from skerry.model.objects import Object, annotations_of, dig, labels_of, metadata, name_of
from skerry.model.resources import SITE_LABEL

LABELS_ANNOTATION = "skerry.dev/labels-from-enrollment"
"""On a Node: which of its labels the hub has set, so that it takes back those that the Enrollment no longer names."""

_REASONS = {APPROVED: "Approved", DENIED: "Denied", PENDING: "WaitsForDecision"}


def needs_certificate(enrollment: Object) -> bool:
    """Whether the certificate that the status should carry must still be issued; who brought a token is given it at the desk."""
    by_hand = not dig(enrollment, "spec", "token")
    return bool(by_hand and dig(enrollment, "spec", "decision") == APPROVED and not dig(enrollment, "status", "certificate"))


def status_for(enrollment: Object, *, certificate: str, now: datetime) -> dict[str, Any]:
    """Return the status as it should be; *certificate* is what is there or was just issued."""
    decision = str(dig(enrollment, "spec", "decision", default=PENDING))
    generation = metadata(enrollment).get("generation")
    conditions = with_condition(
        dig(enrollment, "status", "conditions", default=[]),
        "Approved",
        {APPROVED: True, DENIED: False}.get(decision),
        reason=_REASONS.get(decision, "Unknown"),
        message=_message(decision, str(dig(enrollment, "spec", "nodeName"))),
        now=now,
        generation=generation,
    )
    status: dict[str, Any] = {"phase": decision, "conditions": conditions}
    if generation is not None:
        status["observedGeneration"] = generation
    if decision != DENIED and certificate:
        status["certificate"] = certificate
    return status


def _message(decision: str, node: str) -> str:
    if decision == APPROVED:
        return f"the key may connect as node {node}"
    if decision == DENIED:
        return "the key is shut out; its open connections were closed"
    return "set spec.decision to Approved or Denied"


def status_patch(enrollment: Object, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the merge patch that makes the status *wanted*, or None when it is."""
    there = dig(enrollment, "status", default={})
    if dict(there) == dict(wanted):
        return None
    gone = {field: None for field in there if field not in wanted}
    return {"status": {**wanted, **gone}}


def superseded(enrollment: Object, others: Sequence[Object]) -> list[str]:
    """Return the approved Enrollments of the same node with another key that are older than this approved one.

    A node has one key: when a machine was replaced and its successor approved, the old machine's key is shut out.
    """
    if dig(enrollment, "spec", "decision") != APPROVED:
        return []
    node, since = dig(enrollment, "spec", "nodeName"), _approved_since(enrollment)
    return sorted(
        name_of(o).name
        for o in others
        if dig(o, "spec", "nodeName") == node
        and dig(o, "spec", "decision") == APPROVED
        and dig(o, "spec", "keyHash") != dig(enrollment, "spec", "keyHash")
        and _approved_since(o) < since
    )


def _approved_since(enrollment: Object) -> tuple[str, str]:
    conditions = dig(enrollment, "status", "conditions", default=[])
    since = next((c.get("lastTransitionTime") for c in conditions if c.get("type") == "Approved" and c.get("status") == "True"), None)
    # One that was approved a moment ago and has no condition yet is the newest; names break ties the same way everywhere.
    return (str(since or "9999"), name_of(enrollment).name)


def node_labels_patch(node: Object, enrollment: Object) -> dict[str, Any] | None:
    """Return the merge patch that gives a Node the labels of its approved Enrollment, or None when it has them."""
    wanted = dict(dig(enrollment, "spec", "labels", default={}))
    site = dig(enrollment, "spec", "site", default="")
    if site:
        wanted[SITE_LABEL] = site
    there, note = labels_of(node), annotations_of(node).get(LABELS_ANNOTATION, "")
    ours = {k for k in note.split(",") if k}
    labels: dict[str, str | None] = {k: v for k, v in wanted.items() if there.get(k) != v}
    labels |= {k: None for k in (ours | {SITE_LABEL}) - set(wanted) if k in there}
    new_note = ",".join(sorted(wanted))
    if not labels and new_note == note:
        return None
    return {"metadata": {"labels": labels, "annotations": {LABELS_ANNOTATION: new_note or None}}}
