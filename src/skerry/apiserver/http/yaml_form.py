"""Answers as YAML, for clients that ask for it; written by PyYAML's C emitter, keys in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from skerry.apiserver.registry.beside import LARGE
from skerry.apiserver.registry.encoding import decode

PIECE_VALUES = 2_000
_ELEMENTS = 100
_SIMPLE_KEY = 100
"""Characters up to which a key stands in one line with its colon."""
_LINES = re.compile(rb"^(?=[^\n])", re.MULTILINE)

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_yaml(value: Any) -> bytes:
    """Return a JSON value as YAML."""
    text: str = yaml.dump(value, Dumper=_DUMPER, sort_keys=True, default_flow_style=False, allow_unicode=True, width=10_000)
    return text.encode()


def yaml_pieces(value: Any) -> Iterator[bytes]:
    """Yield the YAML of a map in pieces that are not too long each: PyYAML makes half a KiB of every value before it writes one."""
    batch: dict[str, Any] = {}
    left = PIECE_VALUES
    for key in sorted(value):
        inner = value[key]
        size = _size(inner, PIECE_VALUES)
        large = size >= PIECE_VALUES and len(key) <= _SIMPLE_KEY
        if batch and (large or size > left):
            yield to_yaml(batch)
            batch, left = {}, PIECE_VALUES
        if not large:
            batch[key] = inner
            left -= size
            continue
        yield to_yaml({key: None}).removesuffix(b" null\n") + b"\n"
        if inner.__class__ is dict:
            yield from (_indented(piece) for piece in yaml_pieces(inner))
        else:
            yield from map(to_yaml, (inner[i : i + _ELEMENTS] for i in range(0, len(inner), _ELEMENTS)))
    if batch or not value:
        yield to_yaml(batch)


def yaml_list(head: Mapping[str, Any], key: str, values: Iterable[bytes], empty: Any) -> Iterator[bytes]:
    """Yield the YAML of *head* with *values* (objects as JSON) under *key*, or *empty* when there are none; keys in order."""
    found = False
    yield to_yaml({k: v for k, v in head.items() if k < key})
    for value in values:
        obj = decode(value)
        item = to_yaml([obj]) if len(value) <= LARGE else b"-" + _indented(b"".join(yaml_pieces(obj)))[1:]
        yield item if found else b"%b:\n%b" % (key.encode(), item)
        found = True
    rest = {k: v for k, v in head.items() if k > key}
    if rest or not found:
        yield to_yaml(rest if found else {key: empty, **rest})


def _size(value: Any, limit: int) -> int:
    """Return how many values there are in *value*, at most about *limit*."""
    if value.__class__ is not dict and value.__class__ is not list:
        return 1
    if len(value) >= limit:
        return limit
    count = 1
    for inner in value.values() if value.__class__ is dict else value:
        count += _size(inner, limit - count)
        if count >= limit:
            break
    return count


def _indented(text: bytes) -> bytes:
    """Return lines one level deeper; a break within a quoted text is an empty line, or one whose blanks do not count."""
    return _LINES.sub(b"  ", text)
