"""What is done to Pods beside writing them: binding to a node, eviction."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from skerry.apiserver.registry.below import admit_below
from skerry.apiserver.registry.budgets import charge_eviction
from skerry.apiserver.registry.delete import delete, delete_options
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.ownership import Ownership
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.update import Change, Transform, apply
from skerry.model.conditions import with_condition
from skerry.model.errors import bad_request, conflict, invalid, not_supported, required
from skerry.model.objects import Object, annotations_of, dig
from skerry.model.volumes import LOCAL_PATHS

PODS = "pods"


def pod_kind(registry: Registry) -> Kind:
    kind = registry.kinds.storage(PODS)
    assert kind is not None, "pods are built in"
    return kind


async def bind(registry: Registry, namespace: str, binding: Object, options: WriteOptions) -> None:
    """Give a Pod to a node; ApiError 409 when a node has it already."""
    name, uid = dig(binding, "metadata", "name", default=""), dig(binding, "metadata", "uid", default="")
    target = binding.get("target") or {}
    if target.get("kind") not in (None, "", "Node"):
        raise invalid("Binding", "", name, [not_supported("target.kind", target["kind"], ["Node", "<empty>"])])
    if not target.get("name"):
        raise invalid("Binding", "", name, [required("target.name")])
    node = str(target["name"])
    await admit_below(registry, pod_kind(registry), namespace, name, binding, options, subresource="binding", operation="CREATE")

    def bound(pod: Object) -> Object:
        notes = dig(binding, "metadata", "annotations", default={})
        _check_bindable(pod, name, uid, node, told=LOCAL_PATHS in notes)
        conditions = dig(pod, "status", "conditions")
        now = registry.now()
        status = {**(pod.get("status") or {}), "conditions": with_condition(conditions, "PodScheduled", True, reason="", now=now)}
        status["conditions"] = [_bare(c) if c["type"] == "PodScheduled" else c for c in status["conditions"]]
        found = {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status}
        if notes:  # what the scheduler tells the node
            found["metadata"] = {**pod["metadata"], "annotations": {**(pod["metadata"].get("annotations") or {}), **notes}}
        return found

    await apply(registry, Change(pod_kind(registry), namespace, name, bound, "binding", Ownership.KEPT), options)


def _bare(condition: Object) -> Object:
    return {**{k: v for k, v in condition.items() if v != ""}, "lastProbeTime": None}


def _check_bindable(pod: Object, name: str, uid: str, node: str, *, told: bool) -> None:
    """Refuse a binding that cannot be; *told* says that it tells a Pod that came with its node where its volumes are, which may be once."""
    if uid and uid != pod["metadata"].get("uid"):
        raise conflict(
            PODS, "", name, f"the UID in the precondition ({uid}) does not match the UID in record ({pod['metadata'].get('uid')})"
        )
    if pod["metadata"].get("deletionTimestamp"):
        raise conflict("pods/binding", "", name, f"pod {name} is being deleted, cannot be assigned to a host")
    there = dig(pod, "spec", "nodeName", default="")
    if there and (there != node or not told or LOCAL_PATHS in annotations_of(pod)):
        raise conflict("pods/binding", "", name, f'pod {name} is already assigned to node "{there}"')
    if dig(pod, "spec", "schedulingGates"):
        raise conflict("pods/binding", "", name, f"pod {name} has non-empty .spec.schedulingGates")


def _disrupted(registry: Registry) -> Transform:
    """Return the change that says on a Pod why it is about to end."""

    def told(pod: Object) -> Object:
        conditions = with_condition(
            dig(pod, "status", "conditions"),
            "DisruptionTarget",
            True,
            reason="EvictionByEvictionAPI",
            message="Eviction API: evicting",
            now=registry.now(),
        )
        return {**pod, "status": {**(pod.get("status") or {}), "conditions": conditions}}

    return told


async def evict(registry: Registry, namespace: str, name: str, eviction: Object, options: WriteOptions) -> None:
    """Delete a Pod at somebody's request (drain), if its disruption budget has one to spare; ApiError 429."""
    given = dig(eviction, "metadata", "name", default=name)
    if given != name:
        raise bad_request("name in URL does not match name in Eviction object")
    raw: dict[str, Any] = eviction.get("deleteOptions") or {}
    if "All" in (raw.get("dryRun") or ()):
        options = replace(options, dry_run=True)
    asked = delete_options(raw, {})
    kind = pod_kind(registry)
    await admit_below(registry, kind, namespace, name, eviction, options, subresource="eviction", operation="CREATE")
    pod: Object = decode(registry.value_of(kind, registry.find(kind, namespace, name)))
    await charge_eviction(registry, namespace, pod, options)
    carried_out = replace(options, internal=True)  # what was judged is the eviction
    if not options.dry_run and not asked.revision and asked.uid in ("", pod["metadata"]["uid"]):
        await apply(registry, Change(kind, namespace, name, _disrupted(registry), "status", Ownership.KEPT), carried_out)
    await delete(registry, kind, namespace, name, asked, carried_out)
