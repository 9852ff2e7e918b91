"""Rules of what is claimed of storage, in a PersistentVolumeClaim or in a Pod's ephemeral volume. Pure.

Source: pkg/apis/core/validation of Kubernetes 1.32.
"""

from __future__ import annotations

from skerry.apiserver.schema.objectmeta import validate_annotations, validate_labels
from skerry.apiserver.schema.rules.common import Causes, Map, amount, label_selector, one_of
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_label_error, dns_subdomain_error

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_POD_ALONE = "may not use ReadWriteOncePod with other access modes"
_ONLY_CLAIMS = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"


def claim_template(template: Map, field: str, causes: Causes) -> None:
    """Check a PersistentVolumeClaimTemplate; of its metadata only labels and annotations can be said."""
    meta = template.get("metadata") or {}
    validate_annotations(meta.get("annotations") or {}, causes, f"{field}.metadata.annotations")
    validate_labels(meta.get("labels"), causes, f"{field}.metadata.labels")
    others = (n for n in meta if n not in ("labels", "annotations") and meta[n])
    causes.extend(forbidden_field(f"{field}.metadata.{n}", "cannot be set") for n in others)
    claim_spec(template.get("spec") or {}, f"{field}.spec", causes)


def claim_spec(spec: Map, field: str, causes: Causes) -> None:
    """Check a PersistentVolumeClaimSpec."""
    modes = spec.get("accessModes") or []
    if not modes:
        causes.append(required(f"{field}.accessModes", "at least 1 access mode is required"))
    label_selector(spec.get("selector"), f"{field}.selector", causes)
    access_modes(modes, f"{field}.accessModes", causes)
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if not size:
        causes.append(required(f"{field}.resources[storage]"))
    elif amount(size) <= 0:
        causes.append(invalid_value(f"{field}.resources[storage]", size, "must be greater than zero"))
    class_name(spec, field, causes)
    one_of(spec.get("volumeMode"), ("Block", "Filesystem"), f"{field}.volumeMode", causes, optional=True)
    _sources(spec, field, causes)


def access_modes(modes: list[str], field: str, causes: Causes) -> None:
    """Check the access modes of a claim or a volume."""
    causes.extend(not_supported(field, m, list(ACCESS_MODES)) for m in modes if m not in ACCESS_MODES)
    if "ReadWriteOncePod" in modes and any(m in ACCESS_MODES and m != "ReadWriteOncePod" for m in modes):
        causes.append(forbidden_field(field, _POD_ALONE))


def class_name(spec: Map, field: str, causes: Causes) -> None:
    """Check storageClassName."""
    name = spec.get("storageClassName")
    if name and (wrong := dns_subdomain_error(name)):
        causes.append(invalid_value(f"{field}.storageClassName", name, wrong))


def _sources(spec: Map, field: str, causes: Causes) -> None:
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    for name, found in (("dataSource", source), ("dataSourceRef", ref)):
        if found is not None:
            _source(found, f"{field}.{name}", causes)
    if source is None or ref is None:
        return
    if ref.get("namespace"):
        why = "may not be specified when dataSourceRef.namespace is specified"
        causes.append(invalid_value(field, f"{field}.dataSource", why))
    elif any((source.get(n) or "") != (ref.get(n) or "") for n in ("apiGroup", "kind", "name")):
        causes.append(invalid_value(field, f"{field}.dataSource", "must match dataSourceRef"))


def _source(source: Map, field: str, causes: Causes) -> None:
    group, space = source.get("apiGroup"), source.get("namespace")
    causes.extend(required(f"{field}.{n}") for n in ("name", "kind") if not source.get(n))
    if not group and source.get("kind") != "PersistentVolumeClaim":
        causes.append(invalid_value(field, source.get("kind") or "", _ONLY_CLAIMS))
    elif group and (wrong := dns_subdomain_error(group)):
        causes.append(invalid_value(f"{field}.apiGroup", group, wrong))
    if space and (wrong := dns_label_error(space)):
        causes.append(invalid_value(f"{field}.namespace", space, wrong))
