"""What selectors look at, taken from an object's bytes once, when it is stored."""

from __future__ import annotations

import msgspec

from skerry.apiserver.store import Index, Key


class _Meta(msgspec.Struct):
    labels: dict[str, str] = {}


class _Labelled(msgspec.Struct):
    metadata: _Meta


_labels = msgspec.json.Decoder(_Labelled).decode


def index(key: Key, value: bytes) -> Index:
    """Return labels and field labels of one object."""
    labels = _labels(value).metadata.labels if b'"labels":{' in value else {}
    return Index(labels, {})
