"""What the node rule looks up, read from the store."""

from __future__ import annotations

from collections.abc import Iterator

from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.store import Key, Record, Store
from skerry.model.objects import Object, dig


class StoreFacts:
    """`access.node_rule.Facts` over the store: always what is committed now."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, key: str, namespace: str, name: str) -> Record | None:
        """Return the stored record: the same one as long as nothing was written."""
        return self._store.get(Key(key, namespace, name))

    def get(self, key: str, namespace: str, name: str) -> Object | None:
        record = self._store.get(Key(key, namespace, name))
        if record is None:
            return None
        found: Object = decode(record.value)
        return found

    def pods_of(self, node: str, namespace: str) -> Iterator[Object]:
        for record in self._store.list("pods", namespace).records:
            if record.fields.get("spec.nodeName") == node:
                yield decode(record.value)

    def devices_of(self, node: str, namespace: str) -> Iterator[Object]:
        for record in self._store.list("devices.skerry.dev", namespace).records:
            device: Object = decode(record.value)
            if dig(device, "status", "nodeName") == node:
                yield device
