"""The revisions of a DaemonSet or StatefulSet, which `kubectl rollout history` and `undo` read. Pure.

A ControllerRevision holds the Pod template as a strategic merge patch on its owner. Each template has one revision; going
back to an earlier template gives its revision the highest number again. Revisions that Pods run are never removed.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import msgspec

from skerry.controllers.workloads.deployment_plan import bare_template, template_hash
from skerry.model.objects import Object, annotations_of, dig, labels_of, metadata, name_of, owner_reference
from skerry.model.resources import CONTROLLERREVISIONS

DAEMONSET_HASH = "controller-revision-hash"
STATEFULSET_HASH = "controller.kubernetes.io/hash"

_UNCOPIED = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})


class Keep(msgspec.Struct, frozen=True):
    """Create the revision of the present template."""

    revision: Object


class Renumber(msgspec.Struct, frozen=True):
    """Give a revision the highest number, and the annotations of its owner."""

    revision: Object
    patch: Object


class Drop(msgspec.Struct, frozen=True):
    """Delete a revision that nobody runs."""

    revision: Object


Step = Keep | Renumber | Drop


def plan(owner: Object, revisions: Sequence[Object], *, live: Collection[str], hash_label: str, collisions: int = 0) -> list[Step]:
    """Return the steps of the history; *live* are the names of the revisions that Pods run or shall run."""
    if metadata(owner).get("deletionTimestamp"):
        return []
    present = current(owner, revisions)
    newest = max((number(r) for r in revisions), default=0)
    if present is None:
        return [Keep(_new(owner, newest + 1, hash_label, collisions)), *_too_old(owner, revisions, live)]
    steps: list[Step] = []
    patch = _patch(owner, present, newest, revisions)
    if patch:
        steps.append(Renumber(present, patch))
    return [*steps, *_too_old(owner, revisions, {*live, name_of(present).name})]


def current(owner: Object, revisions: Sequence[Object]) -> Object | None:
    """Return the revision of the present template; of several the one with the highest number."""
    wanted = bare_template(owner["spec"]["template"])
    alike = [r for r in revisions if template_of(r) == wanted]
    return max(alike, key=lambda r: (number(r), name_of(r).name), default=None)


def template_of(revision: Object) -> Object:
    """Return the Pod template that a revision holds."""
    template = dig(revision, "data", "spec", "template", default={})
    return bare_template({k: v for k, v in template.items() if k != "$patch"})


def number(revision: Object) -> int:
    return int(revision.get("revision") or 0)


def _new(owner: Object, revision: int, hash_label: str, collisions: int) -> Object:
    template = owner["spec"]["template"]
    mark = template_hash(template, collisions)
    labels = {**labels_of(template), hash_label: mark}
    meta = {
        "name": f"{name_of(owner).name}-{mark}",
        "namespace": name_of(owner).namespace,
        "labels": labels,
        "annotations": _carried(owner),
        "ownerReferences": [owner_reference(owner)],
    }
    data = {"spec": {"template": {**copy.deepcopy(template), "$patch": "replace"}}}
    resource = CONTROLLERREVISIONS
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "data": data, "revision": revision}


def _patch(owner: Object, present: Object, newest: int, revisions: Sequence[Object]) -> Object:
    patch: Object = {}
    if number(present) < newest or sum(number(r) == newest for r in revisions) > 1:
        patch["revision"] = newest + 1
    changed = {k: v for k, v in _carried(owner).items() if annotations_of(present).get(k) != v}
    if changed:
        patch["metadata"] = {"annotations": changed}
    return patch


def _carried(owner: Object) -> dict[str, str]:
    return {k: v for k, v in annotations_of(owner).items() if k not in _UNCOPIED}


def _too_old(owner: Object, revisions: Sequence[Object], live: Collection[str]) -> list[Drop]:
    keep = int(dig(owner, "spec", "revisionHistoryLimit", default=10))
    unused = sorted((r for r in revisions if name_of(r).name not in live), key=number)
    return [Drop(r) for r in unused[: max(0, len(unused) - keep)]]
