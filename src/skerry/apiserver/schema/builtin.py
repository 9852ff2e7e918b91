"""Built-in kinds: the published definitions compiled, with the defaults and the field rules that are code.

`defaults/` and `rules/` hold one function a kind; this module knows which. A kind that has none is checked by its definition
(types, unknown fields) and by the rules of metadata alone.
"""

from __future__ import annotations

import copy
from functools import partial
from importlib import import_module
from typing import Any

import msgspec

from skerry.apiserver.schema import autoscalers
from skerry.apiserver.schema.facts import Facts
from skerry.apiserver.schema.kind import Complete, Judge, KindSchema, nothing
from skerry.apiserver.schema.objectmeta import (
    NameRule,
    name_rule,
    validate_metadata,
    validate_metadata_update,
    validate_standard_finalizers,
)
from skerry.apiserver.schema.paths import Path, dotted
from skerry.apiserver.schema.scalars import MismatchError, Normalise
from skerry.apiserver.schema.shape import shape_of_definition
from skerry.apiserver.schema.typed import Typed
from skerry.model.errors import Cause, bad_request
from skerry.model.objects import Object

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

_AUTOSCALER_OF_V1 = ("autoscaling", "v1", "HorizontalPodAutoscaler")


def compile_kind(facts: Facts, typed: Typed, group: str, version: str, kind: str) -> KindSchema:
    """Compile one built-in kind; raises KeyError when Kubernetes 1.32 does not have it."""
    definition = facts.kinds[group, version, kind]
    normalise = typed.normaliser(definition)
    has_metadata = "metadata" in facts.definition(definition).get("properties", {})
    default = _found("defaults", group, kind) or nothing
    rules = _found("rules", group, kind)
    if (group, version, kind) == _AUTOSCALER_OF_V1:
        rules = autoscalers.judged_in_v2(rules, typed.normaliser(facts.kinds[group, "v2", kind]))
    return KindSchema(
        group=group,
        version=version,
        kind=kind,
        builtin=True,
        _prune=partial(_prune, normalise, f'{kind} in version "{version}" cannot be handled as a {kind}: '),
        _default=default,
        _validate=partial(_validate, name_rule(group, kind) if has_metadata else None, rules, default),
        _shape=partial(shape_of_definition, facts, definition),
        _reset_status=_status_reset(facts, normalise, definition, group, kind),
    )


def _prune(normalise: Normalise, refusal: str, obj: Object) -> list[str]:
    unknown: list[Path] = []
    try:
        normalise(obj, None, None, unknown)
    except MismatchError as error:
        raise bad_request(refusal + error.text()) from None
    return [dotted(path) for path in unknown]


def _validate(
    rule: NameRule | None, rules: Judge | None, default: Complete, obj: Object, old: Object | None, causes: list[Cause], subresource: str
) -> None:
    if rule is not None:
        meta = obj.get("metadata") or {}
        validate_metadata(meta, rule if old is None else None, causes)
        if meta.get("finalizers"):
            validate_standard_finalizers(meta["finalizers"], causes)
        if old is not None:
            validate_metadata_update(meta, old.get("metadata") or {}, causes)
            causes += causes[:]  # Kubernetes judges the metadata of an update twice: for every object, and for the kind
    if rules is not None:
        found: list[Cause] = []
        rules(obj, old, found, subresource)
        causes += _new_causes(rules, default, obj, old, subresource) if found and old is not None else found


def _new_causes(rules: Judge, default: Complete, obj: Object, old: Object, subresource: str) -> list[Cause]:
    """Return the causes that the stored object does not give itself: what a younger rule refuses can still be labelled, and go.

    The stored object is taken as it would be stored today: a younger default is no change of what may not change.
    """
    today, found, before = copy.deepcopy(old), list[Cause](), list[Cause]()
    default(today)
    rules(obj, today, found, subresource)
    rules(today, today, before, subresource)
    return [c for c in found if c not in before]


def _status_reset(facts: Facts, normalise: Normalise, definition: str, group: str, kind: str) -> Complete | None:
    if "status" not in facts.definition(definition).get("properties", {}):
        return None
    if (group, kind) in _STATUS_FROM_BODY:
        return None

    example: Object = {}
    normalise(example, None, None, [])
    empty = msgspec.json.encode(example["status"]) if "status" in example else b""

    def reset(obj: Object) -> None:
        obj.pop("status", None)
        if empty:
            obj["status"] = msgspec.json.decode(empty)

    return reset


_STATUS_FROM_BODY = frozenset((("", "Node"),))
"""Kinds whose status a create may carry, as in Kubernetes (a kubelet registers its Node with capacity)."""


def _found(what: str, group: str, kind: str) -> Any:
    module = _MODULES[what].get((group, kind))
    if module is None:
        return None
    return getattr(import_module(f"skerry.apiserver.schema.{what}.{module}"), _function_name(kind))


def _function_name(kind: str) -> str:
    """ReplicaSet -> replica_set; CSIDriver -> csidriver."""
    return "".join(f"_{c.lower()}" if c.isupper() and i and not kind[i - 1].isupper() else c.lower() for i, c in enumerate(kind))


_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_NETWORKING = "networking.k8s.io"
_STORAGE = "storage.k8s.io"
_FLOWS = "flowcontrol.apiserver.k8s.io"
_MODULES: dict[str, dict[tuple[str, str], str]] = {
    "defaults": {
        ("", "Pod"): "pods",
        ("", "PodTemplate"): "pods",
        ("", "ReplicationController"): "workloads",
        ("apps", "Deployment"): "workloads",
        ("apps", "ReplicaSet"): "workloads",
        ("apps", "DaemonSet"): "workloads",
        ("apps", "StatefulSet"): "workloads",
        ("batch", "Job"): "workloads",
        ("batch", "CronJob"): "workloads",
        ("", "Service"): "core",
        ("", "Secret"): "core",
        ("", "Namespace"): "core",
        ("", "Node"): "core",
        ("", "LimitRange"): "core",
        ("", "Endpoints"): "core",
        ("", "PersistentVolume"): "storage",
        ("", "PersistentVolumeClaim"): "storage",
        (_STORAGE, "StorageClass"): "storage",
        (_STORAGE, "CSIDriver"): "storage",
        (_RBAC, "RoleBinding"): "policy",
        (_RBAC, "ClusterRoleBinding"): "policy",
        (_ADMISSION, "ValidatingWebhookConfiguration"): "policy",
        (_ADMISSION, "MutatingWebhookConfiguration"): "policy",
        (_ADMISSION, "ValidatingAdmissionPolicy"): "policy",
        (_ADMISSION, "ValidatingAdmissionPolicyBinding"): "policy",
        ("scheduling.k8s.io", "PriorityClass"): "policy",
        (_FLOWS, "FlowSchema"): "policy",
        (_FLOWS, "PriorityLevelConfiguration"): "policy",
        ("apiregistration.k8s.io", "APIService"): "policy",
        ("apiextensions.k8s.io", "CustomResourceDefinition"): "policy",
        ("autoscaling", "HorizontalPodAutoscaler"): "policy",
        (_NETWORKING, "NetworkPolicy"): "networking",
        (_NETWORKING, "IngressClass"): "networking",
        ("discovery.k8s.io", "EndpointSlice"): "networking",
    },
    "rules": {
        ("", "Pod"): "pods",
        ("", "PodTemplate"): "pods",
        ("", "ReplicationController"): "workloads",
        ("apps", "Deployment"): "workloads",
        ("apps", "ReplicaSet"): "workloads",
        ("apps", "DaemonSet"): "workloads",
        ("apps", "StatefulSet"): "workloads",
        ("apps", "ControllerRevision"): "workloads",
        ("batch", "Job"): "batch",
        ("batch", "CronJob"): "batch",
        ("autoscaling", "Scale"): "workloads",
        ("", "ConfigMap"): "core",
        ("", "Secret"): "core",
        ("", "Service"): "services",
        ("", "Namespace"): "core",
        ("", "Node"): "core",
        ("", "Event"): "core",
        ("events.k8s.io", "Event"): "core",
        ("", "ResourceQuota"): "quotas",
        ("", "LimitRange"): "quotas",
        ("", "Endpoints"): "core",
        ("", "PersistentVolume"): "storage",
        ("", "PersistentVolumeClaim"): "storage",
        (_RBAC, "Role"): "policy",
        (_RBAC, "ClusterRole"): "policy",
        (_RBAC, "RoleBinding"): "policy",
        (_RBAC, "ClusterRoleBinding"): "policy",
        ("coordination.k8s.io", "Lease"): "policy",
        ("node.k8s.io", "RuntimeClass"): "policy",
        ("scheduling.k8s.io", "PriorityClass"): "policy",
        (_STORAGE, "StorageClass"): "storage",
        (_STORAGE, "CSIDriver"): "csi",
        (_STORAGE, "CSINode"): "csi",
        (_STORAGE, "VolumeAttachment"): "csi",
        (_STORAGE, "CSIStorageCapacity"): "csi",
        (_FLOWS, "FlowSchema"): "flows",
        (_FLOWS, "PriorityLevelConfiguration"): "flows",
        ("policy", "PodDisruptionBudget"): "policy",
        ("autoscaling", "HorizontalPodAutoscaler"): "autoscaling",
        (_NETWORKING, "Ingress"): "networking",
        (_NETWORKING, "IngressClass"): "networking",
        (_NETWORKING, "NetworkPolicy"): "networking",
        ("discovery.k8s.io", "EndpointSlice"): "networking",
        ("certificates.k8s.io", "CertificateSigningRequest"): "policy",
        (_ADMISSION, "ValidatingWebhookConfiguration"): "admission",
        (_ADMISSION, "MutatingWebhookConfiguration"): "admission",
        (_ADMISSION, "ValidatingAdmissionPolicy"): "admission",
        (_ADMISSION, "ValidatingAdmissionPolicyBinding"): "admission",
        ("apiextensions.k8s.io", "CustomResourceDefinition"): "crds",
    },
}
