"""What a list or a watch of the fake API server shows of the objects and of their history. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from skerry.kube.api import Origin, WatchEvent
from skerry.model.objects import Object, dig, labels_of, name_of
from skerry.model.selectors import FieldSelector, Selector


class Change(msgspec.Struct, frozen=True):
    """One entry of the history; `resource` is its key, `now` and `before` are JSON."""

    revision: int
    type: str
    resource: str
    now: bytes
    before: bytes | None


class Selection(msgspec.Struct, frozen=True):
    """What one client asked for."""

    namespace: str
    labels: Selector
    fields: FieldSelector

    def matches(self, obj: Object) -> bool:
        if self.namespace and name_of(obj).namespace != self.namespace:
            return False
        paths = {t.path: _text(dig(obj, *t.path.split("."))) for t in self.fields.terms}
        return self.labels.matches(labels_of(obj)) and self.fields.matches(paths)

    def event(self, change: Change, origin: Origin) -> WatchEvent | None:
        """Return the event as this selection sees it: entering is ADDED, leaving is DELETED with the previous content."""
        obj = msgspec.json.decode(change.now)
        if change.type == "BOOKMARK":
            return WatchEvent("BOOKMARK", obj, origin)
        before = msgspec.json.decode(change.before) if change.before is not None else None
        had = before is not None and self.matches(before)
        has = change.type != "DELETED" and self.matches(obj)
        if had and not has:
            assert before is not None
            before["metadata"]["resourceVersion"] = str(change.revision)
            return WatchEvent("DELETED", before, origin)
        if has:
            return WatchEvent("MODIFIED" if had else "ADDED", obj, origin)
        return None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
