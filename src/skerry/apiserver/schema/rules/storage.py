"""Rules of volumes and claims. Source: pkg/apis/core/validation and pkg/apis/storage/validation of Kubernetes 1.32. Pure."""

from __future__ import annotations

from skerry.apiserver.schema.rules.common import Causes, Map, amount, label_selector, one_of
from skerry.apiserver.schema.rules.scheduling import node_selector
from skerry.apiserver.schema.rules.volumes import source_error
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_subdomain_error, qualified_name_error
from skerry.model.objects import Object

_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_CLAIM_MUTABLE = ("resources", "volumeName", "volumeAttributesClassName")
_POD_ALONE = "may not use ReadWriteOncePod with other access modes"
_NOT_SOURCES = frozenset(
    (
        "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions", "volumeMode",
        "nodeAffinity", "volumeAttributesClassName",
    )
)  # fmt: skip


def persistent_volume_claim(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    claim_spec(spec, "spec", causes)
    if old is not None:
        before = old["spec"]
        classless = before.get("storageClassName") is None  # a claim that waits may be given its class
        fixed, was = (
            {k: v for k, v in s.items() if k not in _CLAIM_MUTABLE and not (classless and k == "storageClassName")} for s in (spec, before)
        )
        if fixed != was or (before.get("volumeName") and before["volumeName"] != spec.get("volumeName")):
            why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            causes.append(forbidden_field("spec", why))


def claim_spec(spec: Map, field: str, causes: Causes) -> None:
    """Check a PersistentVolumeClaimSpec."""
    modes = spec.get("accessModes") or []
    if not modes:
        causes.append(required(f"{field}.accessModes", "at least 1 access mode is required"))
    _modes(modes, field, causes)
    label_selector(spec.get("selector"), f"{field}.selector", causes)
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if not size:
        causes.append(required(f"{field}.resources[storage]"))
    elif amount(size) <= 0:
        causes.append(invalid_value(f"{field}.resources[storage]", size, "must be greater than zero"))
    _class_name(spec, field, causes)
    one_of(spec.get("volumeMode"), ("Block", "Filesystem"), f"{field}.volumeMode", causes, optional=True)
    source, at = spec.get("dataSource"), f"{field}.dataSource"
    if source is not None:
        causes.extend(required(f"{at}.{n}") for n in ("name", "kind") if not source.get(n))
        if not source.get("apiGroup") and source.get("kind") != "PersistentVolumeClaim":
            why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            causes.append(invalid_value(at, source.get("kind") or "", why))


def _modes(modes: list[str], field: str, causes: Causes) -> None:
    for i, mode in enumerate(modes):
        one_of(mode, _ACCESS_MODES, f"{field}.accessModes[{i}]", causes)
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        causes.append(forbidden_field(f"{field}.accessModes", _POD_ALONE))


def _class_name(spec: Map, field: str, causes: Causes) -> None:
    name = spec.get("storageClassName")
    if name and (wrong := dns_subdomain_error(name)):
        causes.append(invalid_value(f"{field}.storageClassName", name, wrong))


def persistent_volume(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    modes, capacity = spec.get("accessModes") or [], spec.get("capacity") or {}
    if not modes:
        causes.append(required("spec.accessModes"))
    _modes(modes, "spec", causes)
    if not capacity:
        causes.append(required("spec.capacity"))
    elif set(capacity) != {"storage"}:
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
    _class_name(spec, "spec", causes)
    one_of(spec.get("volumeMode"), ("Block", "Filesystem"), "spec.volumeMode", causes, optional=True)


def _volume_source(spec: Map, placed: bool, causes: Causes) -> None:
    sources = [s for s in spec if s not in _NOT_SOURCES and spec[s] is not None]
    if not sources:
        causes.append(required("spec", "must specify a volume type"))
        return
    causes.extend(forbidden_field(f"spec.{s}", "may not specify more than 1 volume type") for s in sources[1:])
    kind = sources[0]
    if kind == "local":
        if not spec[kind].get("path"):
            causes.append(required("spec.local.path"))
        if not placed:
            causes.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    elif kind in ("hostPath", "nfs", "csi"):
        source_error(kind, spec[kind], f"spec.{kind}", causes)
        if kind == "csi" and not spec[kind].get("volumeHandle"):
            causes.append(required("spec.csi.volumeHandle"))
    path = (spec.get("hostPath") or {}).get("path") or ""
    if path and not path.strip("/") and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        causes.append(forbidden_field("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'"))


def storage_class(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    provisioner = obj.get("provisioner") or ""
    if not provisioner:
        causes.append(required("provisioner"))
    elif wrong := qualified_name_error(provisioner.lower()):
        causes.append(invalid_value("provisioner", provisioner, wrong))
    if "" in (obj.get("parameters") or {}):
        causes.append(invalid_value("parameters", "", "field can not be empty."))
    one_of(obj.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"), "volumeBindingMode", causes)
    one_of(obj.get("reclaimPolicy"), ("Delete", "Retain"), "reclaimPolicy", causes)
    if old is not None:
        fixed = ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode")
        causes.extend(forbidden_field(f, f"updates to {f} are forbidden.") for f in fixed if obj.get(f) != old.get(f))
