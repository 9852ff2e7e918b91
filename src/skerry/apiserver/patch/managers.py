"""Who manages which fields: the entries of `metadata.managedFields`, and how a write changes them. Pure.

An entry is identified by manager, operation and subresource, an Update's by its apiVersion too. Entries stay in the form in
which they are stored, and an entry that a write does not concern is passed on as it is: tracking a small change of a large
object costs what the change is large. (Rules: k8s.io/apimachinery/pkg/util/managedfields, 1.32.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from skerry.apiserver.patch.fields import Fields, FieldsError, covers, difference, read, union, without
from skerry.apiserver.patch.types import Type
from skerry.apiserver.patch.walk import compare_objects

Entry = dict[str, Any]
TypeOf = Callable[[str], "Type | None"]
"""Return the type of an object's kind under an apiVersion; None when it is not served any more."""

MAX_UPDATERS = 10
"""Update entries of one object; the oldest of more are folded into one."""
MAX_ENTRIES = 1000
ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"
UNKNOWN = "unknown"
APPLY, UPDATE = "Apply", "Update"


class Writer(msgspec.Struct, frozen=True):
    """Who writes what: `ignored` are fields that this (sub)resource wipes, which nobody comes to own through it."""

    manager: str
    api_version: str
    now: str
    subresource: str = ""
    ignored: Fields = msgspec.field(default_factory=dict)

    def entry(self, operation: str, fields: Fields, time: str | None) -> Entry:
        """Return this writer's entry."""
        found: Entry = {"manager": self.manager or UNKNOWN, "operation": operation, "apiVersion": self.api_version}
        if time:
            found["time"] = time
        found["fieldsType"] = "FieldsV1"
        found["fieldsV1"] = fields
        if self.subresource:
            found["subresource"] = self.subresource
        return found

    def wrote(self, entry: Entry, operation: str) -> bool:
        """Say whether an entry is this writer's."""
        return bool(
            entry.get("manager") == (self.manager or UNKNOWN)
            and entry.get("operation") == operation
            and (entry.get("subresource") or "") == self.subresource
            and (operation == APPLY or entry.get("apiVersion") == self.api_version)
        )


def identity(entry: Entry) -> tuple[str, ...]:
    """Return what makes an entry the same one."""
    operation = entry["operation"]
    version = "" if operation == APPLY else entry["apiVersion"]
    return (entry.get("manager") or "", operation, version, entry.get("subresource") or "")


def is_reset(given: Any) -> bool:
    """Say whether `managedFields` in a body means that nothing shall be managed: `[]` or `[{}]`."""
    return given in ([], [{}])


def read_entries(given: Any) -> list[Entry] | None:
    """Return entries from a body in our spelling; None when there are none, or one of them is none."""
    if given.__class__ is not list or not given or len(given) > MAX_ENTRIES:
        return None
    found: dict[tuple[str, ...], Entry] = {}
    for entry in given:
        try:
            own = _read_entry(entry)
        except FieldsError:
            return None
        found[identity(own)] = own
    return in_time(found.values())


def _read_entry(entry: Any) -> Entry:
    if entry.__class__ is not dict or entry.get("operation") not in (APPLY, UPDATE):
        raise FieldsError("operation must be `Apply` or `Update`")
    if not entry.get("apiVersion") or entry.get("fieldsType") != "FieldsV1":
        raise FieldsError("apiVersion must not be empty, and fieldsType must be FieldsV1")
    texts = {k: entry.get(k) or "" for k in ("manager", "apiVersion", "time", "subresource")}
    if any(v.__class__ is not str for v in texts.values()):
        raise FieldsError("manager, apiVersion, time and subresource are texts")
    writer = Writer(texts["manager"], texts["apiVersion"], "", texts["subresource"])
    return writer.entry(entry["operation"], read(entry.get("fieldsV1") or {}), texts["time"])


def in_time(entries: Any) -> list[Entry]:
    """Return entries as they are stored: those of Apply first, then by time."""
    return sorted(entries, key=_place)


def _place(entry: Entry) -> tuple[str, ...]:
    version = entry.get("apiVersion") or ""
    return (entry["operation"], entry.get("time") or "", entry.get("manager") or "", version, entry.get("subresource") or "")


def updated(entries: Sequence[Entry], writer: Writer, old: Any, new: Any, type_of: TypeOf) -> list[Entry]:
    """Return the entries after *writer* made *new* of *old* by anything but an apply; the same list when nothing is concerned."""
    type_ = type_of(writer.api_version)
    if type_ is None:
        return list(entries)
    changed, removed = compare_objects(type_, old, new)
    if writer.ignored:
        changed, removed = without(changed, writer.ignored), without(removed, writer.ignored)
    if not changed and not removed:
        return entries if isinstance(entries, list) else list(entries)
    mine = next((e for e in entries if writer.wrote(e, UPDATE)), None)
    found: list[Entry] = []
    if mine is None or len(entries) > 1:
        comparisons = Comparisons(old, new, type_of, {writer.api_version: (changed, removed)})
        found = [left for e in entries if e is not mine and (left := comparisons.bereft(e)) is not None]
    fields = changed if mine is None else _grown(mine["fieldsV1"], changed, removed)
    if fields:
        time = writer.now if changed or mine is None else mine.get("time")
        if mine is not None and fields is mine["fieldsV1"]:
            found.append({**mine, "time": time})
        else:
            found.append(writer.entry(UPDATE, fields, time))
    return capped(in_time(found)) if len(found) > 1 else found


def _grown(fields: Fields, changed: Fields, removed: Fields) -> Fields:
    left = difference(fields, removed)
    return left if covers(left, changed) else union(left, changed)


class Comparisons:
    """What changed, as each version of the kind sees it."""

    def __init__(self, old: Any, new: Any, type_of: TypeOf, known: dict[str, tuple[Fields, Fields]]) -> None:
        self._old, self._new, self._type_of = old, new, type_of
        self._known: dict[str, tuple[Fields, Fields] | None] = {**known}

    def of(self, api_version: str) -> tuple[Fields, Fields] | None:
        """Return what was changed and what was removed; None for a version that is gone."""
        if api_version not in self._known:
            type_ = self._type_of(api_version)
            self._known[api_version] = None if type_ is None else compare_objects(type_, self._old, self._new)
        return self._known[api_version]

    def bereft(self, entry: Entry) -> Entry | None:
        """Return another's entry without what was changed or removed; None when nothing is left, the entry itself when all is."""
        differences = self.of(entry["apiVersion"])
        if differences is None:
            return None
        fields = entry["fieldsV1"]
        left = difference(difference(fields, differences[0]), differences[1])
        if left is fields:
            return entry
        return {**entry, "fieldsV1": left} if left else None


def capped(entries: list[Entry]) -> list[Entry]:
    """Return the entries with the oldest of too many updates folded into one for each apiVersion."""
    updates = [e for e in entries if e["operation"] == UPDATE]
    excess = len(updates) - MAX_UPDATERS
    if excess <= 0:
        return entries
    kept = {id(e): e for e in entries}
    buckets: dict[str, Entry] = {}
    first: dict[str, Entry] = {}
    for entry in sorted(updates, key=lambda e: (e.get("time") or "", identity(e))):
        if excess <= 0:
            break
        version = entry["apiVersion"]
        if version not in first:
            first[version] = entry
            continue
        bucket = buckets.get(version, first[version])
        kept.pop(id(first[version]), None)
        del kept[id(entry)]
        writer = Writer(ANCIENT, version, "")
        buckets[version] = writer.entry(UPDATE, union(bucket["fieldsV1"], entry["fieldsV1"]), entry.get("time"))
        excess -= 1
    return in_time([*kept.values(), *buckets.values()])


def same_but_times(a: Sequence[Entry], b: Sequence[Entry]) -> bool:
    """Say whether two lists of entries differ in nothing but their times."""
    if len(a) != len(b):
        return False
    mine, theirs = ({identity(e): (e["apiVersion"], e["fieldsV1"]) for e in entries} for entries in (a, b))
    return mine == theirs
