"""Rules of what a container can be told of its own Pod: fieldRef and resourceFieldRef. Pure.

Source: pkg/apis/core/validation (validateObjectFieldSelector, validateContainerResourceFieldSelector) of Kubernetes 1.32.
"""

from __future__ import annotations

import re

from skerry.apiserver.schema.rules.common import Causes, Map, amount
from skerry.model.errors import invalid_value, not_supported, required
from skerry.model.names import qualified_name_error

IN_ENVIRONMENT = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs",
    "status.podIP", "status.podIPs",
)  # fmt: skip
IN_VOLUMES = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_KNOWN = frozenset((*IN_ENVIRONMENT, *IN_VOLUMES, "spec.host", "spec.restartPolicy", "spec.schedulerName", "status.phase"))
_SUBSCRIPT = re.compile(r"(.*)\['([^']*)'\]")
_RESOURCES = tuple(f"{what}.{name}" for what in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory"))
_UNITS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_DIVISORS = {
    "cpu": ("cpu", ("1m", "1")),
    "memory": ("memory", _UNITS),
    "ephemeral-storage": ("local ephemeral storage", _UNITS),
}


def field_ref(source: Map, allowed: tuple[str, ...], field: str, causes: Causes) -> None:
    """Check an ObjectFieldSelector whose path is one of *allowed*, or one label or annotation."""
    path, at = source.get("fieldPath") or "", f"{field}.fieldPath"
    if not source.get("apiVersion"):
        causes.append(required(f"{field}.apiVersion"))
        return
    if not path:
        causes.append(required(at))
        return
    subscript = _SUBSCRIPT.fullmatch(path)
    whole = subscript[1] if subscript else path
    if whole not in _KNOWN or (subscript and whole not in ("metadata.annotations", "metadata.labels")):
        causes.append(invalid_value(at, path, f"error converting fieldPath: field label not supported: {path}"))
    elif subscript:
        key = subscript[2].lower() if whole.endswith("annotations") else subscript[2]
        wrong = qualified_name_error(key)
        if wrong:
            causes.append(invalid_value(field, key, wrong))
    elif path.replace("spec.host", "spec.nodeName", 1 if path == "spec.host" else 0) not in allowed:
        causes.append(not_supported(at, path, list(allowed)))


def resource_ref(source: Map, field: str, causes: Causes, *, named: bool) -> None:
    """Check a ResourceFieldSelector; in a volume it is *named* which container is meant."""
    resource = source.get("resource") or ""
    if named and not source.get("containerName"):
        causes.append(required(f"{field}.containerName"))
    elif not resource:
        causes.append(required(f"{field}.resource"))
    elif resource not in _RESOURCES:
        if not resource.partition(".")[2].startswith("hugepages-"):
            causes.append(not_supported(f"{field}.resource", resource, list(_RESOURCES)))
    else:
        called, allowed = _DIVISORS[resource.partition(".")[2]]
        divisor = source.get("divisor") or "0"
        if amount(divisor) != 0 and amount(divisor) not in {amount(d) for d in allowed}:
            why = f"only divisor's values {_listed(allowed)} are supported with the {called} resource"
            causes.append(invalid_value(f"{field}.divisor", resource, why))


def _listed(values: tuple[str, ...]) -> str:
    return " and ".join(values) if len(values) == 2 else ", ".join(values)
