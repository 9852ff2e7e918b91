"""Server-side apply: a manager says what it wants of an object, and owns what it said. Pure.

What it says is merged; what it said last time and does not say now goes, unless somebody else owns it; what somebody else owns
and would become something else is a conflict, refused unless it is forced. Applying the same again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec

from skerry.apiserver.patch.configuration import errors, merged
from skerry.apiserver.patch.fields import NONE, Fields, difference, from_paths, intersection, members, shown, size, union, without
from skerry.apiserver.patch.managers import (
    APPLY,
    BEFORE_FIRST_APPLY,
    UPDATE,
    Comparisons,
    Entry,
    TypeOf,
    Writer,
    identity,
    in_time,
    updated,
)
from skerry.apiserver.patch.types import Type
from skerry.apiserver.patch.walk import compare_objects, field_set, remove, with_named
from skerry.model.errors import ApiError, bad_request
from skerry.model.objects import Object
from skerry.model.unreadable import NOT_JSON

MAX_NAMED = 1000
"""Fields that a refusal names."""
KUBECTL = "kubectl"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_UNOWNED = from_paths(
    [("f:apiVersion",), ("f:kind",), ("f:metadata",)]
    + [
        ("f:metadata", f"f:{name}")
        for name in (
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion"
        )
    ]
)  # fmt: skip
_REDACTED = "<secret contents redacted>"
_Conflicts = list[tuple[Entry, Fields]]


class Configuration(msgspec.Struct, frozen=True):
    """What a manager wants, checked against its kind, and the fields that it names."""

    config: Object
    type: Type
    fields: Fields


class Applied(msgspec.Struct, frozen=True):
    """What comes of an apply. `changed` says whether anything but the entries differs from the live object."""

    obj: Object
    entries: list[Entry]
    changed: bool


def configured(config: Object, type_: Type) -> Configuration:
    """Return *config* checked; ApiError 400, and 500 (as Kubernetes does) for one that does not fit the kind."""
    meta = config.get("metadata")
    if isinstance(meta, dict) and meta.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    wrong = errors(type_, config)
    if wrong:
        if config.get("kind") == "Secret":
            wrong = [_without_value(w) for w in wrong]
        text = wrong[0] if len(wrong) == 1 else "\n".join(["errors:", *(f"  {w}" for w in wrong)])
        raise ApiError(500, "", f"failed to create typed patch object ({_told(config)}): {text}")
    return Configuration(config, type_, field_set(type_, config))


def apply(
    live: Object, wanted: Configuration, entries: Sequence[Entry], writer: Writer, type_of: TypeOf, *, empty: Object, force: bool
) -> Applied:
    """Return *live* with what is *wanted* applied by *writer*; ApiError 409 naming the conflicts.

    *wanted* is of the writer's version; *live* has no managedFields of its own; *empty* is what a new object of the kind looks like.
    """
    if not entries and live is not empty:
        before = Writer(BEFORE_FIRST_APPLY, writer.api_version, writer.now, writer.subresource, writer.ignored)
        entries = updated([], before, empty, live, type_of)
    attempt = _Attempt(live, wanted, entries, writer, type_of)
    conflicts = attempt.conflicts()
    if conflicts and not force:
        if writer.manager == KUBECTL:
            conflicts = _beyond_last_applied(conflicts, live, wanted.type, writer.api_version)
        if conflicts:
            raise _refusal(conflicts)
    return attempt.outcome()


def _without_value(error: str) -> str:
    """Return what is wrong with a Secret without the value: it may be a secret at a wrong place, and errors end up in logs."""
    what, got, _ = error.partition(", got ")
    return f"{what}{got}{_REDACTED}" if got else error


def _told(config: Object) -> str:
    meta = config.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    return f"{meta.get('namespace') or ''}/{meta.get('name') or ''}; {told_kind(config.get('apiVersion'), config.get('kind'))}"


def told_kind(api_version: Any, kind: Any) -> str:
    """Return a kind as Go prints it: `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`."""
    version = str(api_version or "")
    return f"{version if '/' in version else '/' + version}, Kind={kind or ''}"


class _Attempt:
    """One apply, worked out."""

    def __init__(self, live: Object, wanted: Configuration, entries: Sequence[Entry], writer: Writer, type_of: TypeOf) -> None:
        type_ = wanted.type
        self._live, self._writer, self._type_of = live, writer, type_of
        self._mine = next((e for e in entries if writer.wrote(e, APPLY)), None)
        self._others = [e for e in entries if e is not self._mine]
        self._said = without(wanted.fields, writer.ignored)
        self._set = difference(self._said, _UNOWNED)
        self._new = self._pruned(merged(type_, live, wanted.config))
        changed, removed = compare_objects(type_, live, self._new)
        if writer.ignored:
            changed, removed = without(changed, writer.ignored), without(removed, writer.ignored)
        self._comparisons = Comparisons(live, self._new, type_of, {writer.api_version: (changed, removed)})

    def _pruned(self, new: Object) -> Object:
        """Return *new* without what the manager does not say any more, unless somebody else owns it."""
        if self._mine is None or self._mine["fieldsV1"] == self._set:
            return new
        type_ = self._type_of(self._mine["apiVersion"])
        if type_ is None:
            return new
        last = with_named(type_, self._mine["fieldsV1"])
        whole = with_named(type_, field_set(type_, new))
        left = _fields_left(type_, remove(type_, new, last))
        owned: dict[str, Fields] = {self._writer.api_version: union(self._said, _UNOWNED)}
        for entry in self._others:
            owned[entry["apiVersion"]] = union(owned.get(entry["apiVersion"], NONE), entry["fieldsV1"])
        for version, fields in owned.items():
            typed = self._type_of(version)
            if typed is not None:
                left = union(left, with_named(typed, fields))
        left = _fields_left(type_, remove(type_, new, difference(whole, left)))
        doomed = intersection(difference(whole, left), last)
        pruned: Object = remove(type_, new, doomed) if doomed else new
        return pruned

    def conflicts(self) -> _Conflicts:
        """Return what would change and is owned by others."""
        found = []
        for entry in self._others:
            differences = self._comparisons.of(entry["apiVersion"])
            contested = intersection(entry["fieldsV1"], differences[0]) if differences else NONE
            if contested:
                found.append((entry, contested))
        return found

    def outcome(self) -> Applied:
        """Return the object and the entries, with what was contested taken over."""
        entries = [left for e in self._others if (left := self._comparisons.bereft(e)) is not None]
        differences = self._comparisons.of(self._writer.api_version)
        changed = (differences is not None and any(differences)) or self._new != self._live
        if self._set:
            time = self._writer.now if changed else self._mine.get("time") if self._mine is not None else None
            entries.append(self._writer.entry(APPLY, self._set, time))
        return Applied(self._new if changed else self._live, in_time(entries), changed)


def _fields_left(type_: Type, value: Any) -> Fields:
    return with_named(type_, field_set(type_, value)) if value else NONE


def _beyond_last_applied(conflicts: _Conflicts, live: Object, type_: Type, api_version: str) -> _Conflicts:
    """Return the conflicts but those about what kubectl itself applied client-side, and nobody changed since."""
    try:
        last = msgspec.json.decode((live["metadata"].get("annotations") or {}).get(LAST_APPLIED) or b"")
    except (*NOT_JSON, AttributeError):
        return conflicts
    if not isinstance(last, dict) or last.get("apiVersion") != api_version or errors(type_, last):
        return conflicts
    changed, removed = compare_objects(type_, last, live)
    allowed = difference(difference(field_set(type_, last), changed), removed)
    return [(entry, left) for entry, contested in conflicts if (left := difference(contested, allowed))]


def with_last_applied(applied: Object, config: Object) -> Object:
    """Return the object with kubectl's annotation of what was applied brought up to date, where it has one."""
    meta = applied.get("metadata") or {}
    annotations = meta.get("annotations") or {}
    if not annotations.get(LAST_APPLIED):
        return applied
    own = {**config, "metadata": {**(config.get("metadata") or {})}}
    left = {k: v for k, v in (own["metadata"].get("annotations") or {}).items() if k != LAST_APPLIED}
    own["metadata"].pop("annotations", None)
    if left:
        own["metadata"]["annotations"] = left
    text = msgspec.json.encode(own, order="sorted").decode() + "\n"
    return {**applied, "metadata": {**meta, "annotations": {**annotations, LAST_APPLIED: text}}}


def _refusal(conflicts: _Conflicts) -> ApiError:
    """Return the 409 that names every field and who owns it."""
    ordered = sorted(conflicts, key=lambda c: identity(c[0]))
    count = sum(size(fields) for _, fields in ordered)
    causes: list[Object] = []
    lines: list[str] = []
    for entry, fields in ordered:
        owner = _owner(entry)
        named = [shown(path) for path in islice(members(fields), max(0, MAX_NAMED - len(causes)))]
        causes += [{"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": path} for path in named]
        lines += [f"conflicts with {owner}:", *(f"- {path}" for path in named)]
    if count == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines += [f"and {count - len(causes)} more"] if count > len(causes) else []
        message = f"Apply failed with {count} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", message, details={"causes": causes})


def _owner(entry: Entry) -> str:
    text = f'"{entry.get("manager") or ""}"'
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    return f"{text} using {entry['apiVersion']}" if entry["operation"] == UPDATE else text
