"""What selectors look at, taken from an object's bytes once, when it is stored."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.schema.fields import METADATA_FIELDS, field_labels, supported_fields
from skerry.apiserver.store import Index, Key


class _Meta(msgspec.Struct):
    labels: dict[str, str] = {}


class _Labelled(msgspec.Struct):
    metadata: _Meta


_labels = msgspec.json.Decoder(_Labelled).decode
_NOTHING: Mapping[str, str] = {}


class Indexer:
    """Gives labels and field labels of an object; what custom kinds can be selected by is told as they come."""

    def __init__(self) -> None:
        self._has_fields: dict[str, bool] = {}
        self._custom: dict[str, tuple[str, ...]] = {}

    def select_by(self, key: str, paths: tuple[str, ...]) -> bool:
        """Index the objects of a custom kind by these paths from now on; say whether they were others so far."""
        changed = self._custom.get(key, ()) != paths
        self._custom[key] = paths
        self._has_fields.pop(key, None)
        return changed

    def __call__(self, key: Key, value: bytes) -> Index:
        resource = key.resource
        has_fields = self._has_fields.get(resource)
        if has_fields is None:
            custom = self._custom.get(resource, ())
            has_fields = self._has_fields[resource] = bool(supported_fields(resource, custom).difference(METADATA_FIELDS))
        labels = _labels(value).metadata.labels if b'"labels":{' in value else _NOTHING
        return Index(labels, self._fields(resource, value) if has_fields else _NOTHING)

    def _fields(self, resource: str, value: bytes) -> dict[str, str]:
        found = field_labels(resource, decode(value), self._custom.get(resource, ()))
        for name in METADATA_FIELDS:
            found.pop(name, None)
        return found
