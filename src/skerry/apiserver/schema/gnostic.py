"""OpenAPI v2 in the protobuf form of the gnostic project, which Go clients ask for: encoded by table, only what we publish.

Field numbers are those of openapiv2/OpenAPIv2.proto. Values that may be anything (defaults, enums, extensions) travel as YAML
text, which JSON is.

A long document is never there as a whole. Each path and each definition is written in a message `Paths` or `Definitions` of its own:
readers of protobuf merge the messages of one field. Inside them bytes are kept in pieces, and what is long is copied into nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from skerry.apiserver.schema.openapi_parts import Parts

MEDIA = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
ASKED = ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", MEDIA)

Fields = dict[str, tuple[int, str]]
_DOCUMENT: Fields = {"swagger": (1, "text"), "info": (2, "info")}
_PATHS, _DEFINITIONS = 8, 9
_INFO: Fields = {"title": (1, "text"), "version": (2, "text")}
_SCHEMA: Fields = {
    "$ref": (1, "text"), "format": (2, "text"), "title": (3, "text"), "description": (4, "text"), "default": (5, "any"),
    "multipleOf": (6, "double"), "maximum": (7, "double"), "exclusiveMaximum": (8, "bool"), "minimum": (9, "double"),
    "exclusiveMinimum": (10, "bool"), "maxLength": (11, "int"), "minLength": (12, "int"), "pattern": (13, "text"),
    "maxItems": (14, "int"), "minItems": (15, "int"), "uniqueItems": (16, "bool"), "maxProperties": (17, "int"),
    "minProperties": (18, "int"), "required": (19, "texts"),
    "enum": (20, "anys"), "additionalProperties": (21, "open"), "type": (22, "type"), "items": (23, "items"), "properties": (25, "schemas"),
    "example": (30, "any"),
}  # fmt: skip
_OPERATION: Fields = {
    "description": (3, "text"), "produces": (6, "texts"), "consumes": (7, "texts"), "parameters": (8, "parameters"),
    "responses": (9, "responses"),
}  # fmt: skip
_PATH: Fields = {
    "get": (2, "operation"), "put": (3, "operation"), "post": (4, "operation"), "delete": (5, "operation"), "patch": (8, "operation"),
    "parameters": (9, "parameters"),
}  # fmt: skip
_RESPONSE: Fields = {"description": (1, "text"), "schema": (2, "schema-item")}
_BODY: Fields = {"description": (1, "text"), "name": (2, "text"), "in": (3, "text"), "required": (4, "bool"), "schema": (5, "schema")}
_IN_PATH: Fields = {
    "required": (1, "bool"), "in": (2, "text"), "description": (3, "text"), "name": (4, "text"), "type": (5, "text"),
    "uniqueItems": (19, "bool"),
}  # fmt: skip
_IN_QUERY: Fields = {**_IN_PATH, "type": (6, "text"), "uniqueItems": (20, "bool")}
_EXTENSIONS = {id(_SCHEMA): 31, id(_OPERATION): 13, id(_PATH): 10}


_JOINED = 4096
"""Longer messages stay in pieces."""

Rope = list[bytes]
_SHORT = [bytes((number,)) for number in range(128)]


def pieces(head: Mapping[str, Any], parts: Parts) -> Iterator[bytes]:
    """Yield a v2 document as a gnostic `Document`."""
    yield from _message(head, _DOCUMENT)
    for path, item in parts.paths:
        yield from _bytes(_PATHS, _named(2, path, _message(item, _PATH)))
    for name, make in parts.definitions:
        yield from _bytes(_DEFINITIONS, _named(1, name, _schema(make())))


def _message(value: Mapping[str, Any], fields: Fields) -> Rope:
    out: Rope = []
    for key, inner in value.items():
        field = fields.get(key)
        if field is not None:
            out += _FORMS[field[1]](field[0], inner)
    extension = _EXTENSIONS.get(id(fields))
    if extension is not None:
        for key, inner in value.items():
            if key.startswith("x-"):
                out += _bytes(extension, [*_text(1, key), *_bytes(2, _any(inner))])
    return out


def _varint(number: int) -> bytes:
    if 0 <= number < len(_SHORT):
        return _SHORT[number]
    found = bytearray()
    number &= (1 << 64) - 1
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _number(number: int, value: int) -> Rope:
    return [_varint(number << 3) + _varint(value)]


def _bytes(number: int, value: Rope) -> Rope:
    length = sum(map(len, value))
    head = _varint(number << 3 | 2) + _varint(length)
    return [head, *value] if length > _JOINED else [b"".join((head, *value))]


def _text(number: int, value: Any) -> Rope:
    return _bytes(number, [str(value).encode()])


def _any(value: Any) -> Rope:
    return _bytes(2, [msgspec.json.encode(value), b"\n"])


def _named(number: int, key: Any, value: Rope) -> Rope:
    """Return one entry of a map as gnostic has it: a pair, in a field *number* of the message that stands for the map."""
    return _bytes(number, [*_text(1, key), *_bytes(2, value)])


def _all(ropes: Iterable[Rope]) -> Rope:
    return [piece for rope in ropes for piece in rope]


def _schema(value: Any) -> Rope:
    return _message(value, _SCHEMA)


def _open(value: Any) -> Rope:
    return _bytes(1, _schema(value)) if isinstance(value, Mapping) else _number(2, int(value))


def _types(value: Any) -> Rope:
    return _all(_text(1, t) for t in ([value] if isinstance(value, str) else value))


def _parameter(value: Mapping[str, Any]) -> Rope:
    if value["in"] == "body":
        parameter = _bytes(1, _message(value, _BODY))
    elif value["in"] == "path":
        parameter = _bytes(2, _bytes(4, _message(value, _IN_PATH)))
    else:
        parameter = _bytes(2, _bytes(3, _message(value, _IN_QUERY)))
    return _bytes(1, parameter)


def _response(value: Mapping[str, Any]) -> Rope:
    return _bytes(1, _message(value, _RESPONSE))


_FORMS: dict[str, Callable[[int, Any], Rope]] = {
    "text": _text,
    "texts": lambda n, v: _all(_text(n, t) for t in v),
    "bool": lambda n, v: _number(n, 1) if v else [],
    "int": lambda n, v: _number(n, int(v)),
    "double": lambda n, v: [_varint(n << 3 | 1) + struct.pack("<d", float(v))],
    "any": lambda n, v: _bytes(n, _any(v)),
    "anys": lambda n, v: _all(_bytes(n, _any(a)) for a in v),
    "info": lambda n, v: _bytes(n, _message(v, _INFO)),
    "schemas": lambda n, v: _bytes(n, _all(_named(1, key, _schema(s)) for key, s in v.items())),
    "schema": lambda n, v: _bytes(n, _schema(v)),
    "schema-item": lambda n, v: _bytes(n, _bytes(1, _schema(v))),
    "open": lambda n, v: _bytes(n, _open(v)),
    "type": lambda n, v: _bytes(n, _types(v)),
    "items": lambda n, v: _bytes(n, _bytes(1, _schema(v))),
    "operation": lambda n, v: _bytes(n, _message(v, _OPERATION)),
    "parameters": lambda n, v: _all(_bytes(n, _parameter(p)) for p in v),
    "responses": lambda n, v: _bytes(n, _all(_named(1, code, _response(r)) for code, r in v.items())),
}
