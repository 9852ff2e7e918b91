"""Whether the names of a CustomResourceDefinition are free, and what its status says about it. Pure.

Source: apiextensions-apiserver, pkg/controller/status/naming_controller.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from skerry.model.conditions import is_true, with_condition
from skerry.model.objects import Object

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def storage_version(crd: Mapping[str, Any]) -> str:
    """Return the version in which objects are kept."""
    return next((str(v["name"]) for v in crd["spec"]["versions"] if v.get("storage")), "")


def accepted_status(crd: Object, taken: Iterable[tuple[str, Mapping[str, Any]]], *, now: datetime) -> Object:
    """Return the status that *crd* should have; *taken* are (plural, names) of what else its group serves."""
    status: Object = dict(crd.get("status") or {})
    wanted = crd["spec"]["names"]
    names, conflict = _accept(wanted, status.get("acceptedNames") or {}, [n for plural, n in taken if plural != wanted["plural"]])
    conditions = status.get("conditions")
    if conflict is None:
        conditions = with_condition(conditions, "NamesAccepted", True, reason="NoConflicts", message="no conflicts found", now=now)
        if not is_true(conditions, "Established"):
            message = "the initial names have been accepted"
            conditions = with_condition(conditions, "Established", True, reason="InitialNamesAccepted", message=message, now=now)
    else:
        reason, message = conflict
        conditions = with_condition(conditions, "NamesAccepted", False, reason=reason, message=message, now=now)
        if not is_true(conditions, "Established"):
            message = "not all names are accepted"
            conditions = with_condition(conditions, "Established", False, reason="NotAccepted", message=message, now=now)
    status["conditions"] = conditions
    status["acceptedNames"] = names
    stored = list(status.get("storedVersions") or ())
    if storage_version(crd) not in stored:
        stored.append(storage_version(crd))
    status["storedVersions"] = stored
    return status


def _accept(
    wanted: Mapping[str, Any], before: Mapping[str, Any], others: list[Mapping[str, Any]]
) -> tuple[dict[str, Any], tuple[str, str] | None]:
    plurals = {n for o in others for n in (o.get("plural"), o.get("singular"), *(o.get("shortNames") or ())) if n}
    kinds = {n for o in others for n in (o.get("kind"), o.get("listKind")) if n}
    accepted: dict[str, Any] = {"plural": "", "kind": ""}
    accepted |= {k: v for k, v in before.items() if v}
    conflict = None
    for key, used, reason in (
        ("plural", plurals, "PluralConflict"),
        ("singular", plurals, "SingularConflict"),
        ("shortNames", plurals, "ShortNamesConflict"),
        ("kind", kinds, "KindConflict"),
        ("listKind", kinds, "ListKindConflict"),
    ):
        value = wanted.get(key)
        clash = [v for v in (value if isinstance(value, list) else [value]) if v in used]
        if clash:
            conflict = (reason, f'"{clash[0]}" is already in use')
        elif value:
            accepted[key] = value
    if wanted.get("categories"):
        accepted["categories"] = wanted["categories"]
    return accepted, conflict
