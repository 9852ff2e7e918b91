"""Which keys may connect, and as which node: the approved ones. Pure; fed with every Enrollment as it changes.

What stays true: a key is let in only while an Enrollment for it is Approved and none for it is Denied; denial follows the
key, whatever node name it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.model.kinds.enrollment import APPROVED, DENIED, PENDING
from skerry.model.objects import dig, name_of


class Entry(msgspec.Struct, frozen=True):
    """What one Enrollment says."""

    enrollment: str
    node: str
    key_hash: str
    decision: str


class Roster:
    """The Enrollments, by key and by node."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._by_key: dict[str, dict[str, Entry]] = {}
        self._trusted: frozenset[str] | None = None

    def put(self, enrollment: Mapping[str, Any]) -> bool:
        """Take note of an Enrollment as it is now; say whether that is news: its status changes more often than what it decides."""
        name = name_of(enrollment).name
        node, key_hash = dig(enrollment, "spec", "nodeName", default=""), dig(enrollment, "spec", "keyHash", default="")
        entry = Entry(name, str(node), str(key_hash), str(dig(enrollment, "spec", "decision", default=PENDING)))
        if self._entries.get(name) == entry:
            return False
        self.remove(name)
        self._entries[name] = entry
        self._trusted = None
        self._by_key.setdefault(entry.key_hash, {})[name] = entry
        return True

    def remove(self, name: str) -> None:
        """Forget an Enrollment that was deleted: its key may no longer connect."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._trusted = None
            of_key = self._by_key[entry.key_hash]
            of_key.pop(name, None)
            if not of_key:
                del self._by_key[entry.key_hash]

    def clear(self) -> None:
        self._entries.clear()
        self._trusted = None
        self._by_key.clear()

    def node_of(self, key_hash: str) -> str | None:
        """Return the node that this key is, None when it may not connect."""
        of_key = self._by_key.get(key_hash, {})
        if any(e.decision == DENIED for e in of_key.values()):
            return None
        return next((of_key[n].node for n in sorted(of_key) if of_key[n].decision == APPROVED), None)

    def trusts(self, node: str) -> bool:
        """Whether any key may connect as *node*: what its Pods show is believed only then. Asked with every token, so remembered."""
        if self._trusted is None:
            self._trusted = frozenset(e.node for e in self._entries.values() if e.decision == APPROVED and not self.denied(e.key_hash))
        return node in self._trusted

    def denied(self, key_hash: str) -> bool:
        """Whether somebody denied this key."""
        return any(e.decision == DENIED for e in self._by_key.get(key_hash, {}).values())

    def approved_keys(self, node: str) -> list[str]:
        """Return the keys that may connect as *node*."""
        keys = {e.key_hash for e in self._entries.values() if e.node == node and e.decision == APPROVED}
        return sorted(k for k in keys if not self.denied(k))

    def pending(self) -> int:
        """Return how many Enrollments wait for a decision."""
        return sum(e.decision == PENDING for e in self._entries.values())
