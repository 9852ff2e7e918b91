"""What a Deployment needs done next, as values. Pure: the arithmetic is in `rolling`, the status in `deployment_status`.

One round changes little and is planned again after it: a new ReplicaSet first, then sizes, then what is too old to keep.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from skerry.controllers.workloads import rolling
from skerry.model.objects import Object, annotations_of, dig, labels_of, metadata, name_of, owner_reference, uid_of
from skerry.model.selectors import from_label_selector

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
ROLL_BACK = "deprecated.deployment.rollback.to"
HASH_LABEL = "pod-template-hash"

_OWN_ANNOTATIONS = frozenset({REVISION, HISTORY, DESIRED, MOST, "kubectl.kubernetes.io/last-applied-configuration"})
_SAFE = "bcdfghjklmnpqrstvwxz2456789"


class CreateReplicaSet(msgspec.Struct, frozen=True):
    replicaset: Object


class Resize(msgspec.Struct, frozen=True):
    """Set the size of a ReplicaSet; `patch` also carries the annotations that go with it."""

    replicaset: Object
    replicas: int
    patch: Object


class Annotate(msgspec.Struct, frozen=True):
    """Change annotations of a ReplicaSet."""

    replicaset: Object
    patch: Object


class SetRevision(msgspec.Struct, frozen=True):
    """Say on the Deployment which revision it is at."""

    revision: str


class DeleteReplicaSet(msgspec.Struct, frozen=True):
    replicaset: Object


class RollBack(msgspec.Struct, frozen=True):
    """Put the template of an earlier revision back, as an annotation asked; tell how it went."""

    patch: Object
    reason: str
    message: str


Step = CreateReplicaSet | Resize | Annotate | SetRevision | DeleteReplicaSet | RollBack


def plan(deployment: Object, replicasets: Sequence[Object], *, old_pods_remain: bool, collisions: int = 0) -> list[Step]:
    """Return the next steps; when a rollout has ended and nothing was changed there are none.

    *old_pods_remain* says whether a Pod of an old ReplicaSet still exists, which Recreate waits for.
    """
    if metadata(deployment).get("deletionTimestamp"):
        return []
    if ROLL_BACK in annotations_of(deployment):
        return [_roll_back(deployment, replicasets)]
    new, old = split(deployment, replicasets)
    scaled = _rescale(deployment, new, old)
    if scaled:
        return scaled
    paused = dig(deployment, "spec", "paused", default=False)
    if new is None:
        return _too_old(deployment, old) if paused else [CreateReplicaSet(new_replicaset(deployment, replicasets, collisions))]
    named: list[Step] = [*_revision(deployment, new, old)]
    if named:
        return named
    sizes = [] if paused else _sizes(deployment, new, old, old_pods_remain=old_pods_remain)
    return [*sizes, *_too_old(deployment, old)]


def _roll_back(deployment: Object, replicasets: Sequence[Object]) -> RollBack:
    text = annotations_of(deployment)[ROLL_BACK]
    asked = int(text) if text.isdigit() else 0
    patch: Object = {"metadata": {"annotations": {ROLL_BACK: None}}}
    numbers = sorted({_number(r) for r in replicasets})
    wanted = asked or (numbers[-2] if len(numbers) > 1 else 0)
    found = next((r for r in replicasets if wanted and _number(r) == wanted), None)
    if found is None:
        return RollBack(patch, "DeploymentRollbackRevisionNotFound", "Unable to find the revision to rollback to.")
    template = bare_template(found["spec"]["template"])
    if template == bare_template(deployment["spec"]["template"]):
        why = f"The rollback revision contains the same template as current deployment {name_of(deployment).name!r}"
        return RollBack(patch, "DeploymentRollbackTemplateUnchanged", why.replace("'", '"'))
    message = f'Rolled back deployment "{name_of(deployment).name}" to revision {wanted}'
    return RollBack({**patch, "spec": {"template": {**template, "$patch": "replace"}}}, "DeploymentRollback", message)


def split(deployment: Object, replicasets: Sequence[Object]) -> tuple[Object | None, list[Object]]:
    """Return the ReplicaSet of the present template (the oldest, should there be several), and the others, oldest first."""
    by_age = sorted(replicasets, key=lambda r: (metadata(r).get("creationTimestamp") or "", name_of(r)))
    wanted = bare_template(dig(deployment, "spec", "template", default={}))
    new = next((r for r in by_age if bare_template(dig(r, "spec", "template", default={})) == wanted), None)
    return new, [r for r in by_age if new is None or uid_of(r) != uid_of(new)]


def bare_template(template: Object) -> Object:
    """Return the template without what a ReplicaSet adds to it, for comparison."""
    found = copy.deepcopy(template)
    meta = found.get("metadata") or {}
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k != HASH_LABEL}
    found["metadata"] = {k: v for k, v in {**meta, "labels": labels}.items() if v}
    return found


def template_hash(template: Object, collisions: int = 0) -> str:
    """Return ten letters that name the template; *collisions* gives others when they are taken."""
    data = msgspec.json.encode([bare_template(template), collisions], order="sorted")
    number = int.from_bytes(hashlib.sha256(data).digest()[:8])
    return "".join(_SAFE[number // len(_SAFE) ** i % len(_SAFE)] for i in range(10))


def new_replicaset(deployment: Object, others: Sequence[Object], collisions: int) -> Object:
    """Return the ReplicaSet of the present template, at the size it may have at once."""
    template = copy.deepcopy(deployment["spec"]["template"])
    mark = template_hash(template, collisions)
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = mark
    selector = copy.deepcopy(deployment["spec"]["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = mark
    namespace, name = name_of(deployment)
    full = f"{name}-{mark}"
    spec: Object = {"replicas": _first_size(deployment, others, full), "selector": selector, "template": template}
    if dig(deployment, "spec", "minReadySeconds"):
        spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
    annotations = {**_carried(deployment), **_size_notes(deployment), REVISION: str(_newest(others) + 1)}
    meta = {
        "name": full,
        "namespace": namespace,
        "labels": template["metadata"]["labels"],
        "annotations": annotations,
        "ownerReferences": [owner_reference(deployment)],
    }
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": copy.deepcopy(meta), "spec": spec}


def _first_size(deployment: Object, others: Sequence[Object], name: str) -> int:
    if _strategy(deployment) == "Recreate":
        return 0
    return rolling.roll(rolling.Size(name, 0, 0, 0), [size(r) for r in others], limits_of(deployment)).get(name, 0)


def size(replicaset: Object) -> rolling.Size:
    status = replicaset.get("status") or {}
    wanted = int(dig(replicaset, "spec", "replicas", default=0))
    return rolling.Size(name_of(replicaset).name, wanted, int(status.get("replicas") or 0), int(status.get("availableReplicas") or 0))


def limits_of(deployment: Object) -> rolling.Limits:
    replicas = int(dig(deployment, "spec", "replicas", default=1))
    if _strategy(deployment) == "Recreate":
        return rolling.Limits(replicas, 0, replicas)
    rules = dig(deployment, "spec", "strategy", "rollingUpdate", default={})
    return rolling.limits(replicas, rules.get("maxSurge", "25%"), rules.get("maxUnavailable", "25%"))


def _strategy(deployment: Object) -> str:
    return str(dig(deployment, "spec", "strategy", "type", default="RollingUpdate"))


def _revision(deployment: Object, new: Object, old: Sequence[Object]) -> list[Step]:
    """Return what gives the present ReplicaSet the highest revision and the Deployment the same."""
    have, wanted = _number(new), max(_newest(old) + 1, _number(new))
    changed = {k: v for k, v in _carried(deployment).items() if annotations_of(new).get(k) != v}
    if have != wanted:
        changed[REVISION] = str(wanted)
        if have:
            past = [*(n for n in annotations_of(new).get(HISTORY, "").split(",") if n), str(have)]
            changed[HISTORY] = ",".join(past[-20:])
    patch: dict[str, Any] = {"metadata": {"annotations": changed}} if changed else {}
    min_ready = int(dig(deployment, "spec", "minReadySeconds", default=0))
    if min_ready != int(dig(new, "spec", "minReadySeconds", default=0)):
        patch["spec"] = {"minReadySeconds": min_ready}
    if patch:
        return [Annotate(new, patch)]
    return [SetRevision(str(have))] if annotations_of(deployment).get(REVISION) != str(have) else []


def _rescale(deployment: Object, new: Object | None, old: Sequence[Object]) -> list[Step]:
    """Return the new sizes after somebody scaled the Deployment, known by the size that its ReplicaSets remember."""
    replicasets = [r for r in (new, *old) if r is not None]
    active = [r for r in replicasets if dig(r, "spec", "replicas")]
    wanted = int(dig(deployment, "spec", "replicas", default=1))
    remembered = {annotations_of(r).get(DESIRED) for r in active}
    if all(n in (None, str(wanted)) for n in remembered):
        if not dig(deployment, "spec", "paused", default=False) or new is None or active:
            return []
        return _resized(deployment, replicasets, {name_of(new).name: wanted} if wanted else {})
    if len(active) > 1 and _strategy(deployment) == "Recreate":
        return []
    newest_first = [r for r in (new, *reversed(old)) if r is not None and dig(r, "spec", "replicas")]
    before = {name_of(r).name: int(n) for r in active if (n := annotations_of(r).get(MOST, "")).isdigit()}
    sizes = rolling.rescale([size(r) for r in newest_first], limits_of(deployment), before)
    return _resized(deployment, active, sizes, note_all=True)


def _sizes(deployment: Object, new: Object, old: Sequence[Object], *, old_pods_remain: bool) -> list[Step]:
    others = [size(r) for r in old]
    if _strategy(deployment) == "Recreate":
        sizes = rolling.recreate(size(new), others, limits_of(deployment).replicas, old_pods_remain=old_pods_remain)
    else:
        sizes = rolling.roll(size(new), others, limits_of(deployment))
    return _resized(deployment, [new, *old], sizes)


def _resized(deployment: Object, replicasets: Sequence[Object], sizes: dict[str, int], *, note_all: bool = False) -> list[Step]:
    notes, found = _size_notes(deployment), list[Step]()
    for replicaset in replicasets:
        wanted = sizes.get(name_of(replicaset).name)
        stale = any(annotations_of(replicaset).get(k) != v for k, v in notes.items())
        if wanted is not None:
            found.append(Resize(replicaset, wanted, {"metadata": {"annotations": notes}, "spec": {"replicas": wanted}}))
        elif note_all and stale:
            found.append(Annotate(replicaset, {"metadata": {"annotations": notes}}))
    return found


def _too_old(deployment: Object, old: Sequence[Object]) -> list[Step]:
    """Return the deletion of ended ReplicaSets beyond revisionHistoryLimit, lowest revisions first."""
    keep = int(dig(deployment, "spec", "revisionHistoryLimit", default=10))
    ended = [r for r in old if not dig(r, "spec", "replicas") and not dig(r, "status", "replicas") and _observed(r)]
    ended.sort(key=_number)
    return [DeleteReplicaSet(r) for r in ended[: max(0, len(ended) - keep)]]


def _observed(replicaset: Object) -> bool:
    seen = int(dig(replicaset, "status", "observedGeneration", default=0))
    return seen >= int(metadata(replicaset).get("generation") or 0) and not metadata(replicaset).get("deletionTimestamp")


def _carried(deployment: Object) -> dict[str, str]:
    return {k: v for k, v in annotations_of(deployment).items() if k not in _OWN_ANNOTATIONS}


def _size_notes(deployment: Object) -> dict[str, str]:
    limit = limits_of(deployment)
    return {DESIRED: str(limit.replicas), MOST: str(limit.most)}


def _number(replicaset: Object) -> int:
    text = annotations_of(replicaset).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _newest(replicasets: Sequence[Object]) -> int:
    return max((_number(r) for r in replicasets), default=0)


def selects(deployment: Object, replicaset: Object) -> bool:
    """Whether *replicaset* has the labels that the Deployment selects."""
    selector = from_label_selector(dig(deployment, "spec", "selector"))
    return selector is not None and bool(selector) and selector.matches(labels_of(replicaset))
