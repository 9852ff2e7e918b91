"""Conversion webhooks: objects of a custom kind in another of its versions, as whoever defined it says.

Reading is prepared before it begins: what a reader will need is asked for in batches and kept for a while, since an object at one
revision never changes. Whatever goes wrong is an error that names the webhook; an object is never shown in a version that it is not in.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from skerry.apiserver.registry.encoding import Encoding, decode
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.store import Record
from skerry.apiserver.webhooks.client import Caller, CallError
from skerry.model.errors import ApiError, internal
from skerry.model.objects import Object
from skerry.model.unreadable import NOT_JSON

KIND, VERSIONS = "ConversionReview", ("v1", "v1beta1")
"""What is asked, and the versions of it that are spoken; they say the same. A webhook is asked in the first that it names."""
TIMEOUT_S = 30.0
MAX_AT_ONCE = 500
"""Objects of one request to a webhook."""
MAX_KEPT_BYTES = 64 << 20
_Place = tuple[str, str, str, str, int]


class Conversions:
    """What has been converted lately; oldest first."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._kept: OrderedDict[_Place, bytes] = OrderedDict()
        self._bytes = 0

    async def prepare(self, kind: Kind, records: Sequence[Record]) -> None:
        """Have all *records* in *kind*'s version; ApiError when the webhook does not give them."""
        missing = [r for r in records if not kind.encoding.fits(r.value) and _place(kind, r) not in self._kept]
        for start in range(0, len(missing), MAX_AT_ONCE):
            part = missing[start : start + MAX_AT_ONCE]
            found = await self._convert(kind, kind.resource.api_version, [decode(r.value) for r in part])
            for record, obj in zip(part, found, strict=True):
                kind.schema.prune_unknown(obj)
                kind.schema.default(obj)
                self._keep(_place(kind, record), kind.encoding.at(kind.encoding.tail(obj), record.revision))

    def converted(self, kind: Kind, record: Record) -> bytes:
        """Return what was prepared."""
        found = self._kept.get(_place(kind, record))
        if found is None:
            shown = f"{record.key.namespace}/{record.key.name}"
            limit = MAX_KEPT_BYTES >> 20
            raise internal(f"{shown} is not converted to {kind.resource.api_version}: more than {limit} MiB at once; read fewer objects")
        return found

    async def stored(self, kind: Kind, storage: Encoding, tail: bytes) -> bytes:
        """Return the tail of an object of *kind* in the version in which it is stored."""
        [found] = await self._convert(kind, storage.api_version, [decode(kind.encoding.at(tail, 0))])
        return storage.tail(found)

    async def one(self, kind: Kind, obj: Object, version: str) -> Object:
        """Return one object of *kind* in another *version* of it."""
        [found] = await self._convert(kind, version, [obj])
        return found

    def _keep(self, place: _Place, value: bytes) -> None:
        self._kept[place] = value
        self._bytes += len(value)
        while self._bytes > MAX_KEPT_BYTES:
            _, old = self._kept.popitem(last=False)
            self._bytes -= len(old)

    async def _convert(self, kind: Kind, version: str, objects: list[Object]) -> list[Object]:
        own = kind.resource
        what = f"conversion webhook for {objects[0]['apiVersion']}, Kind={own.kind} failed: "
        uid = str(uuid.uuid4())
        request = {"uid": uid, "desiredAPIVersion": version, "objects": objects}
        webhook = kind.conversion or {}
        review = f"apiextensions.k8s.io/{_spoken(webhook)}"
        body = msgspec.json.encode({"kind": KIND, "apiVersion": review, "request": request})
        try:
            answer = await self._caller.call(webhook.get("clientConfig") or {}, body, timeout_s=TIMEOUT_S)
        except CallError as error:
            raise _failed(f"{what}{str(error).removeprefix('failed to call webhook: ')}") from None
        found = _read(answer, uid, review, what)
        if len(found) != len(objects):
            raise _failed(f"{what}webhook returned {len(found)} objects, expected {len(objects)}")
        return [_checked(new, old, version, what) for new, old in zip(found, objects, strict=True)]


def _place(kind: Kind, record: Record) -> _Place:
    key = record.key
    return kind.key, kind.resource.version, key.namespace, key.name, record.revision


def _failed(message: str) -> ApiError:
    return ApiError(500, "InternalError", message)


def _spoken(webhook: Mapping[str, Any]) -> str:
    return next((v for v in webhook.get("conversionReviewVersions") or () if v in VERSIONS), VERSIONS[0])


def _read(body: bytes, uid: str, review: str, what: str) -> list[Any]:
    try:
        answer = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise _failed(f"{what}json parse error: {error}") from None
    if not isinstance(answer, dict) or answer.get("kind") != KIND or answer.get("apiVersion") != review:
        raise _failed(f"{what}expected a {KIND} of {review}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise _failed(f"{what}the response is missing")
    if response.get("uid") != uid:
        raise _failed(f'{what}expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if result.get("status") != "Success":
        raise _failed(f"{what}{result.get('message') or 'no message'}")
    objects = response.get("convertedObjects")
    return objects if isinstance(objects, list) else []


def _checked(new: Any, old: Object, version: str, what: str) -> Object:
    """Return the converted object with the metadata that it had: a webhook may only change labels and annotations."""
    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        raise _failed(f"{what}webhook returned something that is no object")
    for field, wanted in (("apiVersion", version), ("kind", old["kind"])):
        if new.get(field) != wanted:
            raise _failed(f"{what}webhook returned an object of {field} {new.get(field)!r}, expected {wanted!r}")
    before, after = old["metadata"], new["metadata"]
    for field in ("name", "namespace", "uid"):
        if after.get(field) != before.get(field):
            raise _failed(f"{what}webhook changed metadata.{field}, which it must not")
    kept = {k: v for k, v in before.items() if k not in ("labels", "annotations")}
    new["metadata"] = {**kept, **{k: after[k] for k in ("labels", "annotations") if after.get(k)}}
    return new
