"""Which kinds are served right now. Discovery and OpenAPI are drawn from here, and are stale when `changes` moved."""

from __future__ import annotations

from collections.abc import Iterator

from skerry.apiserver.registry.kind import Kind


class Kinds:
    """Kinds by group, version and plural; several versions of one share their objects."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, str, str], Kind] = {}
        self._storage: dict[str, Kind] = {}
        self._by_kind: dict[tuple[str, str], Kind] = {}
        self.changes = 0

    def add(self, kind: Kind, *, storage: bool = True) -> None:
        """Serve *kind*; with `storage` its version is the one that objects are kept in."""
        r = kind.resource
        self._served[r.group, r.version, r.plural] = kind
        self._by_kind[r.api_version, r.kind] = kind
        if storage:
            self._storage[kind.key] = kind
        self.changes += 1

    def remove(self, key: str) -> None:
        """Stop serving every version of `plural.group`."""
        for place in [p for p, k in self._served.items() if k.key == key]:
            kind = self._served.pop(place)
            self._by_kind.pop((kind.resource.api_version, kind.resource.kind), None)
        self._storage.pop(key, None)
        self.changes += 1

    def replace(self, key: str, kinds: list[Kind], *, storage: str, unserved: Kind | None = None) -> None:
        """Serve exactly *kinds* of `plural.group`; *unserved* is the storage version when it is not among them."""
        self.remove(key)
        for kind in kinds:
            self.add(kind, storage=kind.resource.version == storage)
        if unserved is not None:
            self._storage[key] = unserved

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._served.get((group, version, plural))

    def storage(self, key: str) -> Kind | None:
        """Return the kind in the version in which `plural.group` is stored."""
        return self._storage.get(key)

    def of(self, api_version: str, kind: str) -> Kind | None:
        return self._by_kind.get((api_version, kind))

    def groups(self) -> dict[str, dict[str, list[Kind]]]:
        """Return group -> version -> kinds, in the order in which they came."""
        found: dict[str, dict[str, list[Kind]]] = {}
        for (group, version, _), kind in self._served.items():
            found.setdefault(group, {}).setdefault(version, []).append(kind)
        return found

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._served.values())
