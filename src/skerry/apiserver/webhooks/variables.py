"""What expressions of webhooks and policies may use: `object`, `oldObject`, `request`, and for policies more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.apiserver.cel.types import BOOL, DYN, STRING, Type, list_of, map_of, record
from skerry.apiserver.registry.admission import Admission
from skerry.model.objects import Object

_KIND = record("kubernetes.GroupVersionKind", {"group": STRING, "version": STRING, "kind": STRING})
_RESOURCE = record("kubernetes.GroupVersionResource", {"group": STRING, "version": STRING, "resource": STRING})
_USER = record(
    "kubernetes.UserInfo", {"username": STRING, "uid": STRING, "groups": list_of(STRING), "extra": map_of(STRING, list_of(STRING))}
)
REQUEST: Type = record(
    "kubernetes.AdmissionRequest",
    {
        "kind": _KIND,
        "resource": _RESOURCE,
        "subResource": STRING,
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "requestSubResource": STRING,
        "name": STRING,
        "namespace": STRING,
        "operation": STRING,
        "userInfo": _USER,
        "dryRun": BOOL,
        "options": DYN,
    },
)
CONDITION_TYPES: Mapping[str, Type] = {"object": DYN, "oldObject": DYN, "request": REQUEST}


def request_value(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return `request` with every field there: what is empty is left out of a review, and empty here."""
    user = request["userInfo"]
    full = {"uid": "", "groups": [], "extra": {}, **user}
    return {"name": "", "namespace": "", "subResource": "", "requestSubResource": "", **request, "userInfo": full}


def condition_values(asked: Admission, request: Mapping[str, Any], new: Object | None, old: Object | None) -> dict[str, Any]:
    """Return the variables of matchConditions."""
    return {"object": new, "oldObject": old, "request": request_value(request)}
