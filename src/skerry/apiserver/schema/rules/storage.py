"""Rules of claims, volumes and their classes. Source: pkg/apis/core/validation and pkg/apis/storage/validation of Kubernetes 1.32. Pure."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.rules.claims import access_modes, claim_spec, class_name
from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    Causes,
    Map,
    amount,
    csi_driver_name,
    dns_label,
    dns_subdomain,
    duplicate,
    go_invalid,
    one_of,
    too_long,
)
from skerry.apiserver.schema.rules.scheduling import node_selector
from skerry.apiserver.schema.rules.volumes import source_error
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.names import qualified_name_error
from skerry.model.objects import Object

_CLAIM_MUTABLE = ("volumeName", "volumeAttributesClassName")
_SECRETS = ("controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef")
_NOT_SOURCES = frozenset(
    (
        "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions", "volumeMode",
        "nodeAffinity", "volumeAttributesClassName",
    )
)  # fmt: skip
MAX_PARAMETERS, MAX_PARAMETER_BYTES = 512, 256 * 1024


def persistent_volume_claim(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    claim_spec(obj["spec"], "spec", causes)
    if old is not None:
        _claim_update(obj, old, causes)


def _claim_update(obj: Object, old: Object, causes: Causes) -> None:
    """Check that a claim stays as it is but for its volume, once, and its size, when it is bound; one that waits may be given its class."""
    spec, before, status = obj["spec"], old["spec"], old.get("status") or {}
    bound = (obj.get("status") or {}).get("phase") == "Bound"
    mutable = {*_CLAIM_MUTABLE, *(("storageClassName",) if before.get("storageClassName") is None else ())}
    fixed, was = ({k: v for k, v in s.items() if k not in mutable} for s in (spec, before))
    if bound:
        fixed["resources"], was["resources"] = (_without_size(s.get("resources") or {}) for s in (spec, before))
    if fixed != was or (before.get("volumeName") and before["volumeName"] != spec.get("volumeName")):
        why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        causes.append(forbidden_field("spec", why))
    now, then = _size(spec.get("resources")), _size(before.get("resources"))
    if amount(now) < amount(then) and amount(now) <= amount((status.get("capacity") or {}).get("storage", "0")):
        causes.append(forbidden_field("spec.resources.requests.storage", "field can not be less than status.capacity"))
    if spec.get("volumeMode") != before.get("volumeMode"):
        causes.append(invalid_value("volumeMode", spec.get("volumeMode"), IMMUTABLE))


def _without_size(resources: Map) -> Map:
    return {**resources, "requests": {k: v for k, v in (resources.get("requests") or {}).items() if k != "storage"}}


def _size(resources: Map | None) -> str:
    return str(((resources or {}).get("requests") or {}).get("storage", "0"))


def persistent_volume(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    modes, capacity = spec.get("accessModes") or [], spec.get("capacity") or {}
    if not modes:
        causes.append(required("spec.accessModes"))
    access_modes(modes, "spec.accessModes", causes)
    if not capacity:
        causes.append(required("spec.capacity"))
    if set(capacity) != {"storage"}:
        causes.append(not_supported("spec.capacity", "core.ResourceList{...}", ["storage"]))
    elif amount(capacity["storage"]) <= 0:
        causes.append(invalid_value("spec.capacity[storage]", capacity["storage"], "must be greater than zero"))
    one_of(spec.get("persistentVolumeReclaimPolicy"), ("Delete", "Recycle", "Retain"), "spec.persistentVolumeReclaimPolicy", causes)
    affinity = (spec.get("nodeAffinity") or {}).get("required")
    if spec.get("nodeAffinity") is not None and affinity is None:
        causes.append(required("spec.nodeAffinity.required", "must specify required node constraints"))
    elif affinity is not None:
        node_selector(affinity, "spec.nodeAffinity.required", causes)
    _volume_source(spec, affinity is not None, causes)
    class_name(spec, "spec", causes)
    one_of(spec.get("volumeMode"), ("Block", "Filesystem"), "spec.volumeMode", causes, optional=True)
    if old is not None:
        _volume_update(spec, old["spec"], causes)


def _volume_update(spec: Map, before: Map, causes: Causes) -> None:
    if _source_of(spec, before) != _source_of(before, before):
        field = "spec.persistentvolumesource"
        causes.append(forbidden_field(field, f"{field} is immutable after creation"))
    if spec.get("volumeMode") != before.get("volumeMode"):
        causes.append(invalid_value("volumeMode", spec.get("volumeMode"), IMMUTABLE))
    affinity = before.get("nodeAffinity")
    if affinity is not None and spec.get("nodeAffinity") != affinity:
        why = f"{IMMUTABLE}, except for updating from beta label to GA"
        causes.append(go_invalid("nodeAffinity", "core.VolumeNodeAffinity{...}", why))


def _source_of(spec: Map, before: Map) -> Map:
    """Return where a volume's data are; the Secret that a driver expands it with may be given later."""
    found = {k: v for k, v in spec.items() if k not in _NOT_SOURCES and v is not None}
    csi = found.get("csi")
    if csi is not None and (before.get("csi") or {}).get("controllerExpandSecretRef") is None:
        found["csi"] = {k: v for k, v in csi.items() if k != "controllerExpandSecretRef"}
    return found


def _volume_source(spec: Map, placed: bool, causes: Causes) -> None:
    sources = [s for s in spec if s not in _NOT_SOURCES and spec[s] is not None]
    if not sources:
        causes.append(required("spec", "must specify a volume type"))
        return
    causes.extend(forbidden_field(f"spec.{s}", "may not specify more than 1 volume type") for s in sources[1:])
    kind = sources[0]
    source = spec[kind]
    if kind == "local":
        path = source.get("path") or ""
        if not path:
            causes.append(required("spec.local.path"))
        elif ".." in path.split("/"):
            causes.append(invalid_value("spec.local.path", path, "must not contain '..'"))
        if not placed:
            causes.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    elif kind == "csi":
        _driver_volume(source, causes)
    else:
        source_error(kind, source, f"spec.{kind}", causes)
    path = (spec.get("hostPath") or {}).get("path") or ""
    if path and not path.strip("/") and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        causes.append(forbidden_field("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'"))


def _driver_volume(source: Map, causes: Causes) -> None:
    csi_driver_name(source.get("driver") or "", "spec.csi.driver", causes)
    if not source.get("volumeHandle"):
        causes.append(required("spec.csi.volumeHandle"))
    for name in _SECRETS:
        ref = source.get(name)
        if ref is not None:
            dns_subdomain(ref.get("name"), f"spec.csi.{name}.name", causes)
            dns_label(ref.get("namespace"), f"spec.csi.{name}.namespace", causes)


def storage_class(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    provisioner = obj.get("provisioner") or ""
    if not provisioner:
        causes.append(required("provisioner"))
    elif wrong := qualified_name_error(provisioner.lower()):
        causes.append(invalid_value("provisioner", provisioner, wrong))
    _parameters(obj.get("parameters") or {}, causes)
    one_of(obj.get("reclaimPolicy"), ("Delete", "Retain"), "reclaimPolicy", causes)
    one_of(obj.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"), "volumeBindingMode", causes)
    _topologies(obj.get("allowedTopologies") or (), causes)
    if old is not None:
        fixed = ("parameters", "provisioner", "reclaimPolicy")
        causes.extend(forbidden_field(f, f"updates to {f} are forbidden.") for f in fixed if (obj.get(f) or None) != (old.get(f) or None))
        if obj.get("volumeBindingMode") != old.get("volumeBindingMode"):
            causes.append(invalid_value("volumeBindingMode", obj.get("volumeBindingMode"), IMMUTABLE))


def _parameters(found: Map, causes: Causes) -> None:
    if len(found) > MAX_PARAMETERS:
        causes.append(too_long("parameters", MAX_PARAMETERS))
        return
    if "" in found:
        causes.append(invalid_value("parameters", "", "field can not be empty."))
    if sum(len(k.encode()) + len(v.encode()) for k, v in found.items()) > MAX_PARAMETER_BYTES:
        causes.append(too_long("parameters", MAX_PARAMETER_BYTES))


def _topologies(terms: Any, causes: Causes) -> None:
    seen: list[Map] = []
    for i, term in enumerate(terms):
        at = f"allowedTopologies[{i}].matchLabelExpressions"
        found: dict[str, set[str]] = {}
        for j, wanted in enumerate(term.get("matchLabelExpressions") or ()):
            key, values = wanted.get("key") or "", wanted.get("values") or ()
            if not values:
                causes.append(required(f"{at}[{j}].values"))
            causes.extend(duplicate(f"{at}[{j}].values[{k}]", v) for k, v in enumerate(values) if v in values[:k])
            if wrong := qualified_name_error(key):
                causes.append(invalid_value(f"{at}[{j}].key", key, wrong))
            if key in found:
                causes.append(duplicate(f"{at}[{j}].key", key))
            found[key] = set(values)
        if found in seen:
            causes.append(duplicate(at, ""))
        seen.append(found)
