"""The authoriser that the API uses: the node rule for nodes, RBAC for everybody else.

A node gets nothing from RBAC, so a binding written by mistake cannot open another's objects to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from skerry.apiserver.access import node_rule
from skerry.apiserver.access.attributes import Attributes, refusal
from skerry.apiserver.access.node_quota import NodeQuota
from skerry.apiserver.access.rbac import Rbac
from skerry.apiserver.access.rules import Rule
from skerry.apiserver.http.message import User
from skerry.model.errors import ApiError
from skerry.model.objects import Object

NODES, NODE_PREFIX = "system:nodes", "system:node:"


class Access:
    """Both rules together."""

    def __init__(self, rbac: Rbac, facts: node_rule.Facts, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rbac, self._facts = rbac, facts
        self._quota, self._clock = NodeQuota(), clock

    def allowed(self, asked: Attributes) -> bool:
        user = asked.user
        if user.node:
            return node_rule.allowed(asked, self._facts)
        if NODES in user.groups:
            return False
        return self.rbac.allowed(asked)

    def require(self, asked: Attributes) -> None:
        """Return when it is allowed; ApiError 403 otherwise, and 413 or 429 for a node that writes too much."""
        if not self.allowed(asked):
            raise refusal(asked)
        if asked.user.node:
            too_much = self._quota.refusal(asked, asked.size, self._clock())
            if too_much is not None:
                raise too_much

    def rules_for(self, user: User, namespace: str) -> Iterable[Rule]:
        """Return what RBAC grants a user in a namespace; for `kubectl auth can-i --list`."""
        return () if NODES in user.groups else self.rbac.rules_for(user, namespace)

    def require_write(self, user: User, key: str, new: Object | None, old: Object | None, *, what: str, name: str) -> None:
        """Judge what a node writes by the object itself; ApiError 403 saying why it may not."""
        if user.node:
            why = node_rule.refusal_of_write(user.node, key, new, old, facts=self._facts)
            if why:
                raise ApiError(403, "Forbidden", f'{what} "{name}" is forbidden: {why}', details={"name": name, "kind": what})
