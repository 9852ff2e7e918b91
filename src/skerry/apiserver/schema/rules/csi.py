"""Rules of what storage drivers and their controllers tell each other: CSIDriver, CSINode, VolumeAttachment, CSIStorageCapacity. Pure.

Source: pkg/apis/storage/validation of Kubernetes 1.32.
"""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    NOT_NEGATIVE,
    Causes,
    Map,
    amount,
    csi_driver_name,
    duplicate,
    go_invalid,
    go_label_selector,
    go_strings,
    label_selector,
    not_negative,
    too_long,
)
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_subdomain_error, qualified_name_error
from skerry.model.objects import Object

MIN_TOKEN_S, MAX_TOKEN_S = 600, 1 << 32
MAX_NODE_ID = 256
MAX_METADATA_BYTES, MAX_MESSAGE_BYTES = 256 * 1024, 1024
_FLAGS = (("attachRequired", "attachedRequired"), ("podInfoOnMount", "podInfoOnMount"), ("storageCapacity", "storageCapacity"))
"""What a driver says yes or no to, and what Kubernetes calls it in its complaints."""
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_MODES = ("Persistent", "Ephemeral")
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
_NOT_INLINE = "may not be specified in the context of inline volumes"


def csidriver(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    causes.extend(required(f"spec.{said}") for name, said in _FLAGS if spec.get(name) is None)
    policy = spec.get("fsGroupPolicy")
    if policy is not None and policy not in _GROUP_POLICIES:
        causes.append(not_supported("spec.fsGroupPolicy", policy, list(_GROUP_POLICIES)))
    _token_requests(spec.get("tokenRequests") or (), causes)
    modes = spec.get("volumeLifecycleModes") or []
    causes.extend(not_supported("spec.volumeLifecycleModes", m, list(_MODES)) for m in modes if m not in _MODES)
    if old is not None:
        before = old.get("spec") or {}
        if spec.get("attachRequired") != before.get("attachRequired"):
            causes.append(invalid_value("spec.attachedRequired", spec.get("attachRequired"), IMMUTABLE))
        if modes != (before.get("volumeLifecycleModes") or []):
            causes.append(go_invalid("spec.volumeLifecycleModes", go_strings(modes, "storage.VolumeLifecycleMode"), IMMUTABLE))


def _token_requests(tokens: Any, causes: Causes) -> None:
    seen: set[str] = set()
    for i, token in enumerate(tokens):
        at, audience, seconds = f"spec.tokenRequests[{i}]", token.get("audience") or "", token.get("expirationSeconds")
        if audience in seen:
            causes.append(duplicate(f"{at}.audience", audience))
            continue
        seen.add(audience)
        if seconds is not None and seconds < MIN_TOKEN_S:
            causes.append(invalid_value(f"{at}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
        if seconds is not None and seconds > MAX_TOKEN_S:
            causes.append(invalid_value(f"{at}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"))


def csinode(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    seen: set[str] = set()
    drivers = (obj.get("spec") or {}).get("drivers") or ()
    for i, driver in enumerate(drivers):
        at, name, node_id = f"spec.drivers[{i}]", driver.get("name") or "", driver.get("nodeID") or ""
        csi_driver_name(name, f"{at}.name", causes)
        if not node_id:
            causes.append(required(f"{at}.nodeID"))
        elif len(node_id) > MAX_NODE_ID:
            causes.append(invalid_value(f"{at}.nodeID", node_id, f"must be {MAX_NODE_ID} characters or less"))
        not_negative(driver.get("allocatable") or {}, ("count",), f"{at}.allocatable", causes)
        if name in seen:
            causes.append(duplicate(f"{at}.name", name))
        seen.add(name)
        _topology_keys(driver.get("topologyKeys") or (), at, causes)
    before = {d.get("name"): d for d in ((old or {}).get("spec") or {}).get("drivers") or ()}
    causes.extend(
        go_invalid("spec.drivers", _go_driver(d), IMMUTABLE) for d in drivers if d.get("name") in before and before[d["name"]] != d
    )


def _topology_keys(keys: Any, field: str, causes: Causes) -> None:
    for i, key in enumerate(keys):
        if not key:
            causes.append(required(field))
        if key in keys[:i]:
            causes.append(duplicate(field, key))
        if wrong := qualified_name_error(key):
            causes.append(invalid_value(field, key, wrong))


def _go_driver(driver: Map) -> str:
    allocatable = "(*storage.VolumeNodeResources)(nil)" if driver.get("allocatable") is None else "&storage.VolumeNodeResources{...}"
    named = f'Name:"{driver.get("name", "")}", NodeID:"{driver.get("nodeID", "")}"'
    return f"storage.CSINodeDriver{{{named}, TopologyKeys:{go_strings(driver.get('topologyKeys'))}, Allocatable:{allocatable}}}"


def volume_attachment(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    attacher, source, node = spec.get("attacher") or "", spec.get("source") or {}, spec.get("nodeName") or ""
    if not attacher:
        causes.append(required("spec.attacher"))
    _attached(source, "spec.source", causes)
    if wrong := dns_subdomain_error(node):
        causes.append(invalid_value("spec.nodeName", node, wrong))
    _attachment_status(obj.get("status") or {}, causes)
    if old is None:
        csi_driver_name(attacher, "spec.attacher", causes)
        name = source.get("persistentVolumeName")
        if name is not None and (wrong := dns_subdomain_error(name)):
            causes.append(invalid_value("spec.source.persistentVolumeName", name, wrong))
    elif spec != (old.get("spec") or {}):
        causes.append(go_invalid("spec", "storage.VolumeAttachmentSpec{...}", IMMUTABLE))


def _attached(source: Map, field: str, causes: Causes) -> None:
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if name is None and inline is None:
        causes.append(required(field, _ONE_SOURCE))
    elif name is not None and inline is not None:
        causes.append(forbidden_field(field, _ONE_SOURCE))
    elif name == "":
        causes.append(required(f"{field}.persistentVolumeName", "must specify non empty persistentVolumeName"))
    elif inline is not None:
        at = f"{field}.inlineVolumeSpec"
        causes.extend(forbidden_field(f"{at}.{n}", _NOT_INLINE) for n in ("claimRef", "capacity") if inline.get(n))
        if inline.get("csi") is None:
            causes.append(required(f"{at}.csi", "has to be specified in the context of inline volumes"))
        if not inline.get("accessModes"):
            causes.append(required(f"{at}.accessModes"))
        if inline.get("persistentVolumeReclaimPolicy") not in (None, "", "Retain"):
            causes.append(forbidden_field(f"{at}.persistentVolumeReclaimPolicy", "may only be Retain in the context of inline volumes"))
        causes.extend(forbidden_field(f"{at}.{n}", _NOT_INLINE) for n in ("nodeAffinity", "storageClassName") if inline.get(n))


def _attachment_status(status: Map, causes: Causes) -> None:
    metadata = status.get("attachmentMetadata") or {}
    if sum(len(k.encode()) + len(v.encode()) for k, v in metadata.items()) > MAX_METADATA_BYTES:
        causes.append(too_long("status.attachmentMetadata", MAX_METADATA_BYTES))
    for name in ("attachError", "detachError"):
        if len(((status.get(name) or {}).get("message") or "").encode()) > MAX_MESSAGE_BYTES:
            causes.append(too_long(f"status.{name}.message", MAX_METADATA_BYTES))  # as Kubernetes says it; it means the 1024


def csistorage_capacity(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    label_selector(obj.get("nodeTopology"), "nodeTopology", causes)
    name, size = obj.get("storageClassName") or "", obj.get("capacity")
    if wrong := dns_subdomain_error(name):
        causes.append(invalid_value("storageClassName", name, wrong))
    if size is not None and amount(size) < 0:
        causes.append(invalid_value("capacity", size, NOT_NEGATIVE))
    if old is not None:
        if obj.get("nodeTopology") != old.get("nodeTopology"):
            causes.append(go_invalid("nodeTopology", go_label_selector(obj.get("nodeTopology")), IMMUTABLE))
        if name != (old.get("storageClassName") or ""):
            causes.append(invalid_value("storageClassName", name, IMMUTABLE))
