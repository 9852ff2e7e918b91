"""GET and LIST. A LIST joins the bytes that are stored; pages come from one snapshot, named by its revision in the token."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import ListOptions
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.slices import Pace
from skerry.apiserver.schema.fields import METADATA_FIELDS, field_labels, supported_fields
from skerry.apiserver.schema.gojson import go_words
from skerry.apiserver.store import Key, Record, TooOldError
from skerry.model.errors import ApiError, bad_request, expired
from skerry.model.selectors import FieldSelector

WAIT_S = 3.0
"""How long a read waits for a revision that is not there yet."""
_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 - the version of a continue token, no secret


class Listing(msgspec.Struct, frozen=True):
    """One page. `remaining` is None when it is not known."""

    records: Sequence[Record]
    revision: int
    token: str = ""
    remaining: int | None = msgspec.field(default=None)


async def get(registry: Registry, kind: Kind, namespace: str, name: str, revision: int | None = None) -> bytes:
    """Return one object's bytes, from a state not older than *revision*."""
    if revision:
        await not_older(registry, revision)
    record = registry.find(kind, namespace, name)
    return await registry.read(kind, record)


async def not_older(registry: Registry, revision: int) -> None:
    """Wait until the store has reached *revision*; ApiError 504 when it does not in time."""
    if registry.store.revision < revision and not await reached(registry, revision, asyncio.get_running_loop().time() + WAIT_S):
        message = f"Timeout: Too large resource version: {revision}, current: {registry.store.revision}"
        causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
        raise ApiError(504, "Timeout", message, details={"causes": causes, "retryAfterSeconds": 1})


async def reached(registry: Registry, revision: int, until: float) -> bool:
    """Wait until the store has reached *revision*; False when the loop's time is *until* and it has not."""
    loop = asyncio.get_running_loop()
    while registry.store.revision < revision:
        left = until - loop.time()
        if left <= 0 or not await registry.next_commit(left):
            return registry.store.revision >= revision
    return True


async def list_(registry: Registry, kind: Kind, namespace: str, options: ListOptions) -> Listing:
    """Return the objects that match, or one page of them, ready to be shown in *kind*'s version."""
    listing = await _listed(registry, kind, namespace, options)
    await registry.ready(kind, listing.records)
    return listing


async def _listed(registry: Registry, kind: Kind, namespace: str, options: ListOptions) -> Listing:
    check_fields(kind, options.fields)
    if not options.selective and options.revision is None and not options.token and not options.limit:
        snapshot = registry.store.list(kind.key, namespace)
        return Listing(snapshot.records, snapshot.revision)
    start = ""
    if options.token:
        if options.revision:
            raise bad_request("specifying resource version is not allowed when using continue")
        revision, start = _read_token(options.token)
        if revision > registry.store.revision:
            raise expired(f"The provided continue parameter is of revision {revision}, which is not there: list again")
        snapshot = _snapshot_at(registry, kind, namespace, revision, start) if revision >= 0 else registry.store.list(kind.key, namespace)
    elif options.revision and options.match == "Exact":
        await not_older(registry, options.revision)
        snapshot = _snapshot_at(registry, kind, namespace, options.revision, "")
    else:
        if options.revision:
            await not_older(registry, options.revision)
        snapshot = registry.store.list(kind.key, namespace)
    limit = 0 if options.revision == 0 and not options.token else options.limit
    return await _page(kind, snapshot.records, snapshot.revision, options, start=start, limit=limit)


async def _page(kind: Kind, records: Sequence[Record], revision: int, options: ListOptions, *, start: str, limit: int) -> Listing:
    """Return the first *limit* matches after *start*; 0 means all. Others have their turn where a selection takes long."""
    if start:
        records = [r for r in records if _place(r) > start]
    if not options.selective:
        if not limit or len(records) <= limit:
            return Listing(records, revision)
        return Listing(records[:limit], revision, _token(revision, records[limit - 1]), len(records) - limit)
    found: list[Record] = []
    pace = Pace()
    for i, record in enumerate(records):
        if not i & 7 and pace.is_due:  # a look at the clock costs a tenth of one at an object
            await pace.rest()
        if matches(kind, record, options):
            found.append(record)
            if limit and len(found) == limit and i + 1 < len(records):
                return Listing(found, revision, _token(revision, record))
    return Listing(found, revision)


def matches(kind: Kind, record: Record, options: ListOptions) -> bool:
    """Say whether a record is in a selection."""
    if options.labels.requirements and not options.labels.matches(record.labels):
        return False
    return all((_field(kind, record, term.path) == term.value) is term.equal for term in options.fields.terms)


def _field(kind: Kind, record: Record, path: str) -> str:
    """Return a field label; one that was not indexed (a CRD named it later) is read from the object."""
    if path == "metadata.name":
        return record.key.name
    if path == "metadata.namespace":
        return record.key.namespace
    found = record.fields.get(path if kind.view is None else kind.view.field(path))
    if found is None and kind.custom:
        found = field_labels(kind.key, decode(record.value), kind.selectable).get(path)
    return found or ""


def check_fields(kind: Kind, fields: FieldSelector) -> None:
    """Refuse a field that this kind cannot be selected by; ApiError 400 in Kubernetes' words."""
    if not fields.terms:
        return
    known = supported_fields(kind.served.key, kind.selectable)
    for term in fields.terms:
        if term.path in known:
            continue
        if kind.custom or len(known) > len(METADATA_FIELDS):
            raise bad_request(f"field label not supported: {term.path}")
        raise bad_request(f'"{term.path}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def list_meta(listing: Listing) -> dict[str, Any]:
    """Return the metadata of a list."""
    meta: dict[str, Any] = {"resourceVersion": str(listing.revision)}
    if listing.token:
        meta["continue"] = listing.token
        if listing.remaining is not None:
            meta["remainingItemCount"] = listing.remaining
    return meta


def list_head(kind: Kind, listing: Listing) -> dict[str, Any]:
    """Return a list without its items."""
    meta = list_meta(listing)
    if kind.custom and not listing.token:
        meta["continue"] = ""
    return {"kind": kind.list_kind, "apiVersion": kind.resource.api_version, "metadata": meta}


def envelope(kind: Kind, listing: Listing, values: Sequence[bytes]) -> bytes:
    """Return the list's bytes around its items' bytes."""
    head = dumps({**list_head(kind, listing), "items": []})
    return b"%b%b]}" % (head[:-2], b",".join(values))


def is_ready(kind: Kind, records: Sequence[Record]) -> bool:
    """Say whether the bytes of a list's items are there, but for their heads."""
    if not kind.custom:
        return True
    since = kind.schema_revision
    return kind.conversion is None and not any(r.revision < since for r in records)


def items(registry: Registry, kind: Kind, records: Sequence[Record]) -> list[bytes]:
    """Return the bytes of a list's items, which are ready: built-in kinds leave apiVersion and kind to the list."""
    if kind.custom:
        if registry.kinds.storage(kind.key) is kind:
            return [r.value for r in records]
        moved = kind.encoding.moved
        return [moved(r.value) for r in records]
    cut = kind.encoding.as_item
    if kind.view is not None:
        shown = kind.view.shown
        return [cut(shown(r.value)) for r in records]
    return [cut(r.value) for r in records]


def _place(record: Record) -> str:
    return f"{record.key.namespace}\0{record.key.name}"


def _token(revision: int, last: Record) -> str:
    raw = dumps({"v": _TOKEN_VERSION, "rv": revision, "start": _place(last)})
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    if len(token) > 2048:
        raise bad_request("invalid continue token: continue key is not valid: it has more than 2048 characters")
    raw = b""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        found = decode(raw)
        version, revision, start = found["v"], found.get("rv"), found.get("start")
    except msgspec.DecodeError as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {go_words(raw, error)}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from None
    if version != _TOKEN_VERSION:
        raise bad_request(f"invalid continue token: continue key is not valid: server does not recognize this encoded version {version}")
    if type(revision) is not int or not -1 <= revision < 2**63 or not isinstance(start, str) or "\0" not in start:
        raise bad_request("invalid continue token: continue key is not valid: incorrect encoded start resourceVersion")
    return revision, start


def _snapshot_at(registry: Registry, kind: Kind, namespace: str, revision: int, start: str) -> Any:
    try:
        return registry.store.list_at(kind.key, namespace, revision)
    except TooOldError:
        if not start:
            raise ApiError(410, "Expired", f"The resourceVersion for the provided list is too old: {revision}") from None
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue "
        "parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided "
        "token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was "
        "returned and now may show up in the list."
    )
    place = Record(Key(kind.key, *start.split("\0", 1)), -1, b"", {}, {})
    error = ApiError(410, "Expired", message)
    error.list_token = _token(-1, place)  # type: ignore[attr-defined]
    raise error
