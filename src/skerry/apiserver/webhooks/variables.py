"""What expressions of webhooks and policies may use: `object`, `oldObject`, `request`, the `authorizer`, and for policies more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from skerry.apiserver.access.attributes import Attributes
from skerry.apiserver.cel.functions import AUTHORIZER, RESOURCE_CHECK
from skerry.apiserver.cel.types import BOOL, DYN, STRING, Type, list_of, map_of, record
from skerry.apiserver.cel.values import Authorizer, Check
from skerry.apiserver.http.message import User
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
CONDITION_TYPES: Mapping[str, Type] = {
    "object": DYN,
    "oldObject": DYN,
    "request": REQUEST,
    "authorizer": AUTHORIZER,
    "authorizer.requestResource": RESOURCE_CHECK,
}


class Allows(Protocol):
    """Who knows what a user may do."""

    def allowed(self, asked: Attributes) -> bool: ...


def request_value(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return `request` with every field there: what is empty is left out of a review, and empty here."""
    user = request["userInfo"]
    full = {"uid": "", "groups": [], "extra": {}, **user}
    return {"name": "", "namespace": "", "subResource": "", "requestSubResource": "", **request, "userInfo": full}


def condition_values(
    access: Allows, asked: Admission, request: Mapping[str, Any], new: Object | None, old: Object | None
) -> dict[str, Any]:
    """Return the variables of matchConditions."""
    authorizer, own = _authorizer(access, asked.options.user), asked.kind.resource
    return {
        "object": new,
        "oldObject": old,
        "request": request_value(request),
        "authorizer": authorizer,
        "authorizer.requestResource": Check(authorizer, "", own.group, own.plural, asked.subresource, asked.namespace, asked.name),
    }


def _authorizer(access: Allows, user: User) -> Authorizer:
    def deciding(who: User) -> Any:
        def allowed(check: Check, verb: str) -> bool:
            if check.path:
                return access.allowed(Attributes(who, verb, path=check.path))
            return access.allowed(Attributes(who, verb, check.group, check.resource, check.subresource, check.namespace, check.name))

        return allowed

    return Authorizer(deciding(user), lambda name, groups: deciding(User(name, groups)))
