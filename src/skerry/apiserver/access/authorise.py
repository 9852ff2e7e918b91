"""The authoriser that the API uses: the node rule for nodes, RBAC for everybody else."""

from __future__ import annotations

from collections.abc import Iterable

from skerry.apiserver.access.attributes import Attributes, refusal
from skerry.apiserver.access.rbac import Rbac
from skerry.apiserver.access.rules import Rule
from skerry.apiserver.http.message import User


class Access:
    """Both rules together. A node gets nothing from RBAC, so a binding written by mistake cannot open another's objects."""

    def __init__(self, rbac: Rbac) -> None:
        self.rbac = rbac

    def allowed(self, asked: Attributes) -> bool:
        return self.rbac.allowed(asked)

    def rules_for(self, user: User, namespace: str) -> Iterable[Rule]:
        """Return what RBAC grants a user in a namespace; for `kubectl auth can-i --list`."""
        return () if user.node else self.rbac.rules_for(user, namespace)

    def require(self, asked: Attributes) -> None:
        """Return when it is allowed; ApiError 403 otherwise."""
        if not self.allowed(asked):
            raise refusal(asked)
