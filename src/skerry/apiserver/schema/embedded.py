"""Resources inside custom resources (`x-kubernetes-embedded-resource`): their apiVersion, kind and metadata. Pure.

Source: apiextensions-apiserver/pkg/apiserver/schema/objectmeta of Kubernetes 1.32.
"""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.objectmeta import dns_1035_error, path_segment_error, validate_metadata
from skerry.model.errors import Cause, invalid_value, required

_MAPS = ("labels", "annotations")
_LISTS: tuple[tuple[str, type], ...] = (("finalizers", str), ("ownerReferences", dict))


def embedded_causes(value: dict[str, Any], at: str, causes: list[Cause]) -> None:
    """Append what is wrong with the type and the metadata of an embedded resource; a name may be missing."""
    for field, check in (("apiVersion", _version_error), ("kind", _kind_error)):
        found = value.get(field)
        if not found:
            causes.append(required(f"{at}.{field}", "must not be empty"))
        elif not isinstance(found, str):
            causes.append(invalid_value(f"{at}.{field}", found, "must be a string"))
        elif wrong := check(found):
            causes.append(invalid_value(f"{at}.{field}", found, wrong))
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and _is_metadata(metadata):
        validate_metadata({"name": "fakename", **metadata}, path_segment_error, causes, field=f"{at}.metadata")
    elif metadata is not None:
        causes.append(invalid_value(f"{at}.metadata", metadata, "must be the metadata of an object"))


def _is_metadata(value: dict[str, Any]) -> bool:
    """Return whether the types are those of ObjectMeta; the default of a CRD has been through no decoder."""
    maps = all(isinstance(v, dict) and all(isinstance(x, str) for x in v.values()) for k in _MAPS if (v := value.get(k)) is not None)
    lists = all(isinstance(v, list) and all(isinstance(x, t) for x in v) for k, t in _LISTS if (v := value.get(k)) is not None)
    return maps and lists and all(isinstance(value.get(k) or "", str) for k in ("name", "generateName", "namespace"))


def _version_error(text: str) -> str | None:
    return f"unexpected GroupVersion string: {text}" if text.count("/") > 1 else None


def _kind_error(text: str) -> str | None:
    wrong = dns_1035_error(text.lower())
    return f"may have mixed case, but should otherwise match: {wrong}" if wrong else None
