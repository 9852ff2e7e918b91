"""What an informer knows: objects by name, with indexes, moved forward by lists and events and never back.

Pure: it returns the changes and calls nobody. A list removes only what is not newer than itself, since an object that we
just wrote may be known here before the list that lacks it was taken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import msgspec

from skerry.kube.api import WatchEvent
from skerry.model.objects import Name, Object, name_of, revision_of

Keys = Callable[[Object], Iterable[str]]
Shrink = Callable[[Object], Object | None]


class Change(msgspec.Struct, frozen=True):
    """`old` is None when the object is new here, `new` is None when it is gone. Neither may be modified."""

    name: Name
    old: Object | None
    new: Object | None

    @property
    def object(self) -> Object:
        """Return the newest content there is."""
        found = self.new if self.new is not None else self.old
        assert found is not None
        return found


class Cache:
    """Objects of one collection. *shrink* keeps only what its user needs; None as its answer keeps nothing of the object."""

    def __init__(self, *, shrink: Shrink | None = None) -> None:
        self._objects: dict[Name, Object] = {}
        self._shrink = shrink
        self._keys: dict[str, Keys] = {}
        self._indexes: dict[str, dict[str, set[Name]]] = {}
        self.revision = 0
        """Everything up to here has been told to us."""

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, name: Name) -> Object | None:
        return self._objects.get(name)

    def objects(self) -> Collection[Object]:
        return self._objects.values()

    def view(self) -> Mapping[Name, Object]:
        return self._objects

    def add_index(self, title: str, keys: Keys) -> None:
        """Keep the objects findable by each of the keys that *keys* gives for them."""
        self._keys[title] = keys
        self._indexes[title] = {}
        for name, obj in self._objects.items():
            for key in keys(obj):
                self._indexes[title].setdefault(key, set()).add(name)

    def indexed(self, title: str, key: str) -> list[Object]:
        """Return the objects under *key*, sorted by name."""
        return [self._objects[n] for n in sorted(self._indexes[title].get(key, ()))]

    def count(self, title: str, key: str) -> int:
        """Return how many objects are under *key*."""
        return len(self._indexes[title].get(key, ()))

    def replace(self, items: Iterable[Object], revision: str) -> list[Change]:
        """Take in a complete list; returns what changed by it, removals last."""
        at = int(revision) if revision.isdigit() else 0
        listed: set[Name] = set()
        changes: list[Change] = []
        for item in items:
            listed.add(name_of(item))
            changes += self._put(item)
        gone = [n for n, o in self._objects.items() if n not in listed and (not at or revision_of(o) <= at)]
        changes += [c for n in gone for c in self._drop(n, None)]
        self.revision = max(self.revision, at)
        return changes

    def apply(self, event: WatchEvent) -> list[Change]:
        """Take in one watch event; returns what changed by it: nothing for a bookmark or what was known already."""
        self.revision = max(self.revision, revision_of(event.object))
        if event.type == "BOOKMARK":
            return []
        if event.type == "DELETED":
            return list(self._drop(name_of(event.object), event.object))
        return list(self._put(event.object))

    def learn(self, obj: Object) -> list[Change]:
        """Take in the answer to a write of our own, unless its watch event (and maybe later ones) has come already."""
        return [] if revision_of(obj) <= self.revision else list(self._put(obj))

    def _put(self, obj: Object) -> Iterator[Change]:
        name, old = name_of(obj), self._objects.get(name_of(obj))
        if old is not None and revision_of(old) >= revision_of(obj) > 0:
            return
        kept = self._shrink(obj) if self._shrink is not None else obj
        self._unindex(name, old)
        if kept is None:
            self._objects.pop(name, None)
            if old is None:
                return
        else:
            self._objects[name] = kept
            self._index(name, kept)
        yield Change(name, old, kept)

    def _drop(self, name: Name, last: Object | None) -> Iterator[Change]:
        old = self._objects.pop(name, None)
        self._unindex(name, old)
        if old is not None or last is not None:
            yield Change(name, last if last is not None else old, None)

    def _index(self, name: Name, obj: Object) -> None:
        for title, keys in self._keys.items():
            for key in keys(obj):
                self._indexes[title].setdefault(key, set()).add(name)

    def _unindex(self, name: Name, obj: Object | None) -> None:
        if obj is None:
            return
        for title, keys in self._keys.items():
            for key in keys(obj):
                names = self._indexes[title].get(key, set())
                names.discard(name)
                if not names:
                    self._indexes[title].pop(key, None)
