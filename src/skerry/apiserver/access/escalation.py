"""Nobody gives more than they have: who writes a role must hold what it grants, who binds one too.

Excepted: masters, the server itself, and whom RBAC grants the verb `escalate` on the role, or `bind` on what is bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.apiserver.access.attributes import Attributes
from skerry.apiserver.access.authorise import Access
from skerry.apiserver.access.rbac import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, MASTERS, ROLES
from skerry.apiserver.access.rules import TooManyPartsError, lacking
from skerry.apiserver.http.message import User
from skerry.model.errors import ApiError, forbidden
from skerry.model.objects import Object, labels_of

GROUP = "rbac.authorization.k8s.io"


def refusal_of_role(access: Access, user: User, key: str, new: Object, old: Object | None) -> ApiError | None:
    """Return the 403 for a role or binding that would give more than *user* has; None when it may be written."""
    if MASTERS in user.groups:
        return None
    meta = new["metadata"]
    name, namespace = str(meta.get("name")), str(meta.get("namespace") or "")
    plural = key.partition(".")[0]
    if key in (ROLES, CLUSTER_ROLES):
        if old is not None and all(old.get(k) == new.get(k) for k in ("rules", "aggregationRule")) and labels_of(old) == labels_of(new):
            return None  # labels count: they say into which other roles the rules are gathered
        if access.allowed(Attributes(user, "escalate", GROUP, plural, namespace=namespace, name=name)):
            return None
        wanted = list(new.get("rules") or ()) + ([_EVERYTHING] if new.get("aggregationRule") else [])
    elif key in (BINDINGS, CLUSTER_BINDINGS):
        if old is not None and old.get("subjects") == new.get("subjects") and old.get("roleRef") == new.get("roleRef"):
            return None
        wanted = _bound(access, user, new.get("roleRef") or {}, namespace)
    else:
        return None
    try:
        count, missing = lacking(access.rules_for(user, namespace), wanted)
    except TooManyPartsError as error:
        return forbidden(plural, GROUP, name, f"whether user {user.name!r} holds all of it cannot be said in time: {error}")
    if not count:
        return None
    shown = ", ".join(_words(m) for m in missing) + (f" and {count - len(missing)} more" if count > len(missing) else "")
    why = f'user "{user.name}" (groups={list(user.groups)}) is attempting to grant RBAC permissions not currently held: {shown}'
    return forbidden(plural, GROUP, name, why)


_EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


def _bound(access: Access, user: User, ref: Mapping[str, Any], namespace: str) -> list[dict[str, Any]]:
    """Return the rules that a binding hands out; none when the user may bind that role."""
    is_role = ref.get("kind") == "Role"
    plural = "roles" if is_role else "clusterroles"
    name = str(ref.get("name"))
    if access.allowed(Attributes(user, "bind", GROUP, plural, namespace=namespace, name=name)):
        return []
    rules = access.rbac.role_rules(namespace if is_role else "", name)
    # A role that is not there yet could become anything.
    return [r.to_json() for r in rules] if rules else [_EVERYTHING]


def _words(rule: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{k}: {v}" for k, v in rule.items()) + "}"
