"""Objects as the bytes that are served: apiVersion, kind and metadata.resourceVersion stand first, so that a new revision,
another apiVersion, or none (items of a list) is a cut in the bytes and not another encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from skerry.model.errors import too_large
from skerry.model.objects import Object

MAX_OBJECT_BYTES = 4 << 20
"""One object as it is stored: what a request may carry, and what the server adds or a patch lets grow."""

_encode = msgspec.json.Encoder().encode
decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode


def dumps(value: Any) -> bytes:
    """Return *value* as JSON."""
    return _encode(value)


class Encoding:
    """How objects of one kind and version become bytes."""

    __slots__ = ("_head", "_skip", "api_version", "kind")

    def __init__(self, api_version: str, kind: str) -> None:
        self.api_version, self.kind = api_version, kind
        self._head = b'{"apiVersion":%b,"kind":%b,"metadata":{"resourceVersion":"' % (_encode(api_version), _encode(kind))
        self._skip = self._head.index(b'"metadata"')

    def tail(self, obj: Object) -> bytes:
        """Return everything after the revision's digits; ApiError 413 when that is more than an object may have."""
        meta = {"resourceVersion": ""}
        meta.update(obj["metadata"])
        meta["resourceVersion"] = ""
        ordered: Object = {"apiVersion": self.api_version, "kind": self.kind, "metadata": meta}
        for key, value in obj.items():
            if key not in ordered:
                ordered[key] = value
        encoded = _encode(ordered)
        if len(encoded) > MAX_OBJECT_BYTES:
            raise too_large(MAX_OBJECT_BYTES)
        return encoded[len(self._head) :]

    def at(self, tail: bytes, revision: int) -> bytes:
        """Return the object's bytes at *revision*."""
        return b"%b%d%b" % (self._head, revision, tail)

    def later(self, tail: bytes) -> Callable[[int], bytes]:
        """Return what the store calls once it knows the revision."""
        head = self._head

        def at(revision: int) -> bytes:
            return b"%b%d%b" % (head, revision, tail)

        return at

    def tail_of(self, value: bytes) -> bytes:
        """Return the tail of an object's bytes."""
        return value[value.index(b'"', len(self._head)) :]

    def without_revision(self, tail: bytes) -> bytes:
        """Return an object that was never stored (a dry run's)."""
        cut = self._head[: self._head.rindex(b'"resourceVersion"')]
        return cut + tail[2:] if tail[1:2] == b"," else cut + tail[1:]

    def as_item(self, value: bytes) -> bytes:
        """Return the bytes without apiVersion and kind, as a built-in list has its items."""
        return b"{" + value[self._skip :]

    def fits(self, value: bytes) -> bool:
        """Say whether the bytes are of this very apiVersion."""
        return value.startswith(self._head)

    def moved(self, value: bytes) -> bytes:
        """Return bytes that were stored under another version of the same kind as this version's."""
        if value.startswith(self._head):
            return value
        return self._head[: self._skip] + value[value.index(b'"metadata":{"resourceVersion":"') :]
