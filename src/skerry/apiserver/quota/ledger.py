"""Charges every write against the quotas of its namespace, before it is committed.

What must stay true: what is stored and what waits for its commit never together exceed a quota, as far as it was kept when the
objects came. Where no namespace has a quota, a write costs one look into an empty map.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from skerry.apiserver.quota.books import Account
from skerry.apiserver.quota.usage import needs_content, text_of
from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.store import ChangeType, Record, Store
from skerry.model.errors import forbidden
from skerry.model.objects import Object

QUOTAS = "resourcequotas"


class Ledger:
    """The accounts of all namespaces that have a quota."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._accounts: dict[str, dict[str, Account]] = {}
        self.changed: set[tuple[str, str]] = set()
        """Namespace and name of quotas whose status may be old."""
        self.dropped()
        store.foresee(self)

    def judge(self, asked: Admission) -> None:
        """Refuse what exceeds a quota: a plug-in that runs last, right before the store."""
        accounts = self._accounts.get(asked.namespace)
        if accounts is None or asked.new is None or asked.subresource not in ("", "resize"):
            return
        key, resource = asked.kind.key, asked.kind.resource
        for name in sorted(accounts):
            account = accounts[name]
            if key not in account.kinds:
                continue
            why = account.refusal(key, asked.name, asked.new, new=asked.old is None)
            if why:
                raise forbidden(resource.plural, resource.group, asked.name, why)

    def used(self, namespace: str, name: str) -> dict[str, str] | None:
        """Return the sums of a quota as its status has them; None when there is no such quota."""
        account = self._accounts.get(namespace, {}).get(name)
        return None if account is None else {k: _shown(account, k, v) for k, v in account.used.items()}

    def staged(self, change: ChangeType, record: Record) -> None:
        key = record.key
        if key.resource == QUOTAS:
            self._on_quota(change, record)
        accounts = self._accounts.get(key.namespace)
        if accounts is not None:
            self._charge(accounts.values(), change, record)

    def dropped(self) -> None:
        self._accounts.clear()
        for record in self._store.list(QUOTAS).records:
            self._on_quota("ADDED", record)

    def _on_quota(self, change: ChangeType, record: Record) -> None:
        namespace, name = record.key.namespace, record.key.name
        accounts = self._accounts.setdefault(namespace, {})
        if change == "DELETED":
            accounts.pop(name, None)
            if not accounts:
                del self._accounts[namespace]
            return
        account = Account(decode(record.value))
        old = accounts.get(name)
        self.changed.add((namespace, name))
        if old is not None and old.quota.get("spec") == account.quota.get("spec"):
            return  # its status was written: the sums stay
        accounts[name] = account
        for kind in account.kinds:
            for found in self._store.list(kind, namespace).records:
                self._charge([account], "ADDED", found)
        for waiting, found in self._store.waiting():
            if found.key.namespace == namespace:
                self._charge([account], waiting, found)

    def _charge(self, accounts: Iterable[Account], change: ChangeType, record: Record) -> None:
        key, name = record.key.resource, record.key.name
        obj: Object | None = None
        for account in accounts:
            if key not in account.kinds:
                continue
            if change == "DELETED":
                moved = account.take(key, name)
            else:
                if obj is None and needs_content(key):
                    obj = decode(record.value)
                moved = account.put(key, name, obj)
            if moved:
                self.changed.add((record.key.namespace, account.name))


def _shown(account: Account, name: str, value: Decimal) -> str:
    return text_of(value, account.texts[name])
