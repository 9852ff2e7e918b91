"""What a request asks beside its object, read from the query once and checked as ListOptions, CreateOptions, ... are."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from skerry.apiserver.http.message import User
from skerry.apiserver.http.query import Query, flag, number, pairs
from skerry.apiserver.registry.beside import Place
from skerry.model.errors import ApiError, Cause, bad_request, forbidden_field, invalid, not_supported, required
from skerry.model.selectors import EVERYTHING, NO_FIELDS, FieldSelector, Selector, SelectorError, parse_fields, parse_labels

_MAX_DIGITS = 64
MAX_MANAGER = 128
"""Longest fieldManager: bytes."""


class WriteOptions(msgspec.Struct):
    """How to write. `warnings` collects what the client is told beside the answer (299 headers)."""

    user: User
    dry_run: bool = False
    field_validation: str = "Warn"
    manager: str = ""
    agent: str = ""
    """The User-Agent, for whoever names no manager."""
    warnings: list[str] = msgspec.field(default_factory=list)
    internal: bool = False
    size: int = 0
    """Bytes of the body, as `beside` weighs them: from LARGE on it is worked on beside the loop."""
    place: Place | None = None
    """What a large request holds there."""
    creating: Callable[[], None] | None = None
    """Refuses, with ApiError 403, a PUT or an apply that would create, where the user may only change what is there."""


class ListOptions(msgspec.Struct, frozen=True):
    """LIST and WATCH. `revision` None means the most recent; 0 any; `match` is "", Exact or NotOlderThan."""

    labels: Selector = EVERYTHING
    fields: FieldSelector = NO_FIELDS
    revision: int | None = None
    match: str = ""
    limit: int = 0
    token: str = ""
    timeout_s: float | None = None
    bookmarks: bool = False
    initial: bool | None = None

    @property
    def selective(self) -> bool:
        return bool(self.labels.requirements or self.fields.terms)


ANY = ListOptions()


def list_options(query: Query, *, watch: bool) -> ListOptions:
    """Read the options of a list or watch; ApiError 400 for what cannot be read, 422 for what does not go together."""
    if not query:
        return ANY
    revision = read_revision(query.get("resourceVersion"))
    match = query.get("resourceVersionMatch", "")
    initial = flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    causes = _watch_causes(match, initial) if watch else _list_causes(query, revision, match, initial)
    if causes:
        raise invalid("ListOptions", "meta.k8s.io", "", causes)
    timeout = number(query, "timeoutSeconds")
    try:
        labels = parse_labels(query["labelSelector"]) if query.get("labelSelector") else EVERYTHING
        fields = parse_fields(query["fieldSelector"]) if query.get("fieldSelector") else NO_FIELDS
    except SelectorError as error:
        raise bad_request(str(error)) from None
    return ListOptions(
        labels=labels,
        fields=fields,
        revision=revision,
        match=match,
        limit=max(0, number(query, "limit") or 0),
        token=query.get("continue", ""),
        timeout_s=None if not timeout else float(timeout),
        bookmarks=flag(query, "allowWatchBookmarks"),
        initial=initial,
    )


def read_revision(text: str | None) -> int | None:
    """Return a resourceVersion as a number; None when it is not given."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        message = f'resourceVersion: Invalid value: "{text[:64]}": strconv.ParseUint: parsing "{text[:64]}": invalid syntax'
        raise ApiError(500, "", message)
    if len(text) > _MAX_DIGITS or int(text) >= 2**64:
        raise bad_request(f'resourceVersion: Invalid value: "{text[:64]}": strconv.ParseUint: parsing "{text[:64]}": value out of range')
    return int(text)


def _list_causes(query: Query, revision: int | None, match: str, initial: bool | None) -> list[Cause]:
    causes = []
    if initial is not None:
        causes.append(forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if match:
        if revision is None:
            causes.append(forbidden_field("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if query.get("continue"):
            causes.append(forbidden_field("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            causes.append(not_supported("resourceVersionMatch", match, ["Exact", "NotOlderThan", ""]))
        elif match == "Exact" and revision == 0:
            why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            causes.append(forbidden_field("resourceVersionMatch", why))
    return causes


def _watch_causes(match: str, initial: bool | None) -> list[Cause]:
    if initial is None:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        return [forbidden_field("resourceVersionMatch", why)] if match else []
    causes = []
    if match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(forbidden_field("resourceVersionMatch", why))
        if match:
            causes.append(not_supported("resourceVersionMatch", match, ["NotOlderThan"]))
    return causes


def write_options(user: User, query: Query, raw: str, kind: str, *, agent: str = "", applies: bool = False) -> WriteOptions:
    """Read the options of a write; *kind* (`CreateOptions`, ...) names them when something is wrong.

    *applies* says that this is a server-side apply, which must name its manager and may be forced.
    """
    if not query and not applies:
        return WriteOptions(user, agent=agent)
    causes = []
    dry_run = [v for k, v in pairs(raw) if k == "dryRun"] if "dryRun" in query else []
    if any(v != "All" for v in dry_run):
        causes.append(not_supported("dryRun", next(v for v in dry_run if v != "All"), ["All"]))
    validation = query.get("fieldValidation", "") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        causes.append(not_supported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]))
    manager = query.get("fieldManager", "")
    if len(manager.encode()) > MAX_MANAGER:
        causes.append(Cause("fieldManager", "FieldValueTooLong", f"Too long: may not be more than {MAX_MANAGER} bytes"))
    elif not manager.isprintable():
        causes.append(Cause("fieldManager", "FieldValueInvalid", _unprintable(manager)))
    if applies and not manager:
        causes.append(required("fieldManager", "is required for apply patch"))
    if kind == "PatchOptions" and not applies and "force" in query:
        causes.append(forbidden_field("force", "may not be specified for non-apply patch"))
    if causes:
        raise invalid(kind, "meta.k8s.io", "", causes)
    return WriteOptions(user, bool(dry_run), validation, manager, agent)


def _unprintable(manager: str) -> str:
    at = next(i for i, c in enumerate(manager) if not c.isprintable())
    return f"Invalid value: {msgspec.json.encode(manager).decode()}: invalid character U+{ord(manager[at]):04X} (at position {at})"
