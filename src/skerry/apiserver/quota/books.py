"""The account of one namespace: what each of its quotas has left. Pure.

What must stay true: the sum of a quota is that of the objects that were put in and not taken out, whatever the order.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from skerry.apiserver.quota.scopes import in_scope
from skerry.apiserver.quota.usage import Usage, counted_kind, pretty, unsaid, usage
from skerry.model import quantity
from skerry.model.objects import Object, dig, metadata

ZERO = Decimal(0)
_Entry = tuple[str, str]
"""`plural.group` and name."""


class Account:
    """One quota and what is charged to it."""

    def __init__(self, quota: Object) -> None:
        self.quota = quota
        self.name = str(metadata(quota)["name"])
        self.texts: Mapping[str, str] = {k: str(v) for k, v in dig(quota, "spec", "hard", default={}).items()}
        self.hard: Usage = {k: quantity.parse(v) for k, v in self.texts.items()}
        self.kinds = frozenset(counted_kind(k) for k in self.hard)
        self.used: Usage = dict.fromkeys(self.hard, ZERO)
        self._entries: dict[_Entry, Usage] = {}

    def put(self, key: str, name: str, obj: Object | None) -> bool:
        """Charge an object as it is now; return whether the sums changed."""
        before = self._entries.pop((key, name), {})
        after = self._share(key, obj)
        if after:
            self._entries[key, name] = after
        return self._move(before, after)

    def take(self, key: str, name: str) -> bool:
        return self._move(self._entries.pop((key, name), {}), {})

    def _share(self, key: str, obj: Object | None) -> Usage:
        if not in_scope(self.quota, key, obj):
            return {}
        return {k: v for k, v in usage(key, obj).items() if k in self.hard and v}

    def _move(self, before: Usage, after: Usage) -> bool:
        if before == after:
            return False
        for name, amount in before.items():
            self.used[name] -= amount
        for name, amount in after.items():
            self.used[name] += amount
        return True

    def refusal(self, key: str, name: str, obj: Object | None, *, new: bool) -> str:
        """Return why this object cannot be charged, "" when it can."""
        wanted = self._share(key, obj)
        if key == "pods" and new and obj is not None and in_scope(self.quota, key, obj):
            open_ = unsaid(obj, self.hard)
            if open_:
                return f"failed quota: {self.name}: must specify {open_}"
        before = self._entries.get((key, name), {})
        more = {k: v - before.get(k, ZERO) for k, v in wanted.items()}
        over = {k: v for k, v in more.items() if v > 0 and self.used[k] + v > self.hard[k]}
        if not over:
            return ""
        used, hard = ({k: amounts[k] for k in over} for amounts in (self.used, self.hard))
        asked, have, limit = (pretty(amounts, self.texts) for amounts in (over, used, hard))
        return f"exceeded quota: {self.name}, requested: {asked}, used: {have}, limited: {limit}"
