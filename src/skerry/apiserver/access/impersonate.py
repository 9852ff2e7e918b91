"""Acting as somebody else (`kubectl --as`): who may, and who one then is. Nobody can become a node: a node proves its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import unquote

from skerry.apiserver.access.attributes import Attributes
from skerry.apiserver.http.message import User
from skerry.model.errors import bad_request

_HEADERS = frozenset(("impersonate-user", "impersonate-group", "impersonate-uid"))
_EXTRA, _ALL = "impersonate-extra-", "impersonate-"
MAX_GROUPS = 100


class Requires(Protocol):
    def require(self, asked: Attributes) -> None: ...


def impersonates(headers: Mapping[str, str]) -> bool:
    """Return whether a request asks to act as somebody else, be it in part (extra fields alone too)."""
    # Every request comes here: one search in the joined names costs a third of a look at each.
    if _ALL not in "\n".join(headers):
        return False
    return not _HEADERS.isdisjoint(headers) or any(name.startswith(_EXTRA) for name in headers)


def impersonated(user: User, headers: Mapping[str, str], access: Requires) -> User:
    """Return whom *user* acts as; ApiError 403 when that is not granted (verb `impersonate`), 400 when it makes no sense."""
    name = headers.get("impersonate-user", "")
    groups = tuple(g.strip() for g in headers.get("impersonate-group", "").split(",") if g.strip())
    uid = headers.get("impersonate-uid", "")
    extra = {unquote(k.removeprefix(_EXTRA)): tuple(v.split(", ")) for k, v in headers.items() if k.startswith(_EXTRA)}
    if not name:
        raise bad_request("requested groups, uid or extra to impersonate, without a user: set Impersonate-User")
    if len(groups) > MAX_GROUPS:
        raise bad_request(f"{len(groups)} groups to impersonate, the limit is {MAX_GROUPS}")
    account = name.removeprefix("system:serviceaccount:").split(":") if name.startswith("system:serviceaccount:") else []
    if len(account) == 2:
        access.require(Attributes(user, "impersonate", "", "serviceaccounts", namespace=account[0], name=account[1]))
        groups = groups or ("system:serviceaccounts", f"system:serviceaccounts:{account[0]}")
    else:
        access.require(Attributes(user, "impersonate", "", "users", name=name))
    for group in groups:
        access.require(Attributes(user, "impersonate", "", "groups", name=group))
    if uid:
        access.require(Attributes(user, "impersonate", "authentication.k8s.io", "uids", name=uid))
    for key, values in extra.items():
        for value in values:
            access.require(Attributes(user, "impersonate", "authentication.k8s.io", "userextras", key, name=value))
    if name != "system:anonymous" and "system:authenticated" not in groups:
        groups = (*groups, "system:authenticated")
    return User(name, groups, uid, extra)
