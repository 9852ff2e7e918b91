"""Patched objects that are not of their kind any more: the refusal shows them, as Kubernetes does. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from skerry.apiserver.patch import Entry
from skerry.model.errors import ApiError, Cause
from skerry.model.objects import Object

MAX_SHOWN = 64 << 10
"""Of an object in a refusal: characters."""
REDACTED = "<secret contents redacted>"
_GO_ORDER = (
    "name", "generateName", "selfLink", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "managedFields",
)  # fmt: skip
_ENTRY_ORDER = ("manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource")
_sorted = msgspec.json.Encoder(order="sorted").encode


class UnreadableError(Exception):
    """A patch has left something that cannot be read as its kind: the object, and why."""

    def __init__(self, obj: Object, why: str) -> None:
        super().__init__(why)
        self.obj, self.why = obj, why

    def refusal(self, entries: list[Entry], *, secret: bool) -> ApiError:
        """Return the 422; *entries* are the stored object's managedFields, *secret* says that nobody may read it here."""
        shown = REDACTED if secret else _shown(self.obj, entries)[:MAX_SHOWN]
        cause = Cause("patch", "FieldValueInvalid", f"Invalid value: {msgspec.json.encode(shown).decode()}: {self.why}")
        return ApiError(422, "Invalid", f' "" is invalid: {cause}', details={"causes": [cause.to_json()]})


def _shown(obj: Object, entries: list[Entry]) -> str:
    meta = obj.get("metadata")
    parts: dict[str, Any] = dict(sorted(obj.items()))
    if isinstance(meta, dict):
        parts["metadata"] = msgspec.Raw(_in_order({"managedFields": [*map(_entry, entries)], **meta} if entries else meta, _GO_ORDER))
    return _joined(parts).decode()


def _entry(entry: Entry) -> msgspec.Raw:
    return msgspec.Raw(_in_order(entry, _ENTRY_ORDER))


def _in_order(value: Object, order: tuple[str, ...]) -> bytes:
    """Return a struct as Go writes it: its fields in their order, the keys of maps sorted."""
    return _joined({**{k: value[k] for k in order if k in value}, **{k: v for k, v in value.items() if k not in order}})


def _joined(parts: dict[str, Any]) -> bytes:
    return b"{" + b",".join(_sorted(k) + b":" + _sorted(v) for k, v in parts.items()) + b"}"
