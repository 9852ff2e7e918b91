"""What cells have in common: ages, lists of containers, labels, and the short notation in which columns are written here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from skerry.model.objects import Object
from skerry.model.times import age as age_of
from skerry.model.times import parse_time

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"


def columns(spec: str) -> list[dict[str, Any]]:
    """Return column definitions of `Name / Desired:integer / Node*`; a star is priority 1 (`-o wide`), the type is string."""
    found = []
    for part in spec.split(" / "):
        name, _, kind = part.rstrip("*").partition(":")
        found.append(column(name, kind or "string", priority=int(part.endswith("*"))))
    return found


def column(name: str, kind: str, *, priority: int = 0, description: str = "", format_: str = "") -> dict[str, Any]:
    shape = format_ or ("name" if name in ("Name", "Attacher") else "")
    return {"name": name, "type": kind, "format": shape, "description": description, "priority": priority}


def name_of(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")


def age(obj: Object, now: datetime) -> str:
    """Return how old the object is."""
    return since((obj.get("metadata") or {}).get("creationTimestamp"), now)


def since(timestamp: Any, now: datetime) -> str:
    """Return the time since *timestamp* (RFC 3339) as kubectl writes it; `<unknown>` when there is none."""
    if not timestamp:
        return UNKNOWN
    try:
        return age_of(parse_time(timestamp), now)
    except ValueError:
        return "<invalid>"


def labels(found: Mapping[str, Any] | None) -> str:
    """Return `a=b,c=d`, sorted; `<none>` when there is nothing."""
    return ",".join(f"{k}={v}" for k, v in sorted((found or {}).items())) or NONE


def selector(found: Mapping[str, Any] | None) -> str:
    """Return a label selector as text."""
    if found is None:
        return NONE
    parts = [f"{k}={v}" for k, v in sorted((found.get("matchLabels") or {}).items())]
    for term in found.get("matchExpressions") or ():
        key, op, values = term.get("key"), term.get("operator"), ",".join(sorted(term.get("values") or ()))
        words = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": f"{key}", "DoesNotExist": f"!{key}"}
        parts.append(words.get(str(op), str(key)))
    return ",".join(parts) or NONE


def containers(pod_spec: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return the names and the images of a pod spec's containers."""
    found = (pod_spec or {}).get("containers") or ()
    return ",".join(c.get("name", "") for c in found), ",".join(c.get("image", "") for c in found)


def template_containers(obj: Object) -> tuple[str, str]:
    return containers(((obj.get("spec") or {}).get("template") or {}).get("spec"))


def joined(values: Iterable[str], *, at_most: int = 0, nothing: str = NONE) -> str:
    """Return `a,b,c + 2 more...`."""
    found = list(values)
    if not found:
        return nothing
    if at_most and len(found) > at_most:
        return f"{','.join(found[:at_most])} + {len(found) - at_most} more..."
    return ",".join(found)
