"""OpenAPI v2 in the protobuf form of the gnostic project, which Go clients ask for: encoded by table, only what we publish.

Field numbers are those of openapiv2/OpenAPIv2.proto. Values that may be anything (defaults, enums, extensions) travel as YAML
text, which JSON is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

MEDIA = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
ASKED = ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", MEDIA)

Fields = dict[str, tuple[int, str]]
_DOCUMENT: Fields = {"swagger": (1, "text"), "info": (2, "info"), "paths": (8, "paths"), "definitions": (9, "schemas")}
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


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a v2 document as a gnostic `Document`."""
    return _message(document, _DOCUMENT)


def _message(value: Mapping[str, Any], fields: Fields) -> bytes:
    out = bytearray()
    for key, inner in value.items():
        field = fields.get(key)
        if field is not None:
            out += _FORMS[field[1]](field[0], inner)
    extension = _EXTENSIONS.get(id(fields))
    if extension is not None:
        for key, inner in value.items():
            if key.startswith("x-"):
                out += _bytes(extension, _bytes(1, key.encode()) + _bytes(2, _any(inner)))
    return bytes(out)


def _varint(number: int) -> bytes:
    found = bytearray()
    number &= (1 << 64) - 1
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _any(value: Any) -> bytes:
    return _bytes(2, msgspec.json.encode(value) + b"\n")


def _named(number: int, values: Mapping[str, Any], inner: Callable[[Any], bytes]) -> bytes:
    """Return a map as gnostic has it: a list of pairs, in a field *number* of the message that stands for the map."""
    return b"".join(_bytes(number, _bytes(1, str(key).encode()) + _bytes(2, inner(value))) for key, value in values.items())


def _schema(value: Any) -> bytes:
    return _message(value, _SCHEMA)


def _parameter(value: Mapping[str, Any]) -> bytes:
    if value["in"] == "body":
        parameter = _bytes(1, _message(value, _BODY))
    elif value["in"] == "path":
        parameter = _bytes(2, _bytes(4, _message(value, _IN_PATH)))
    else:
        parameter = _bytes(2, _bytes(3, _message(value, _IN_QUERY)))
    return _bytes(1, parameter)


def _response(value: Mapping[str, Any]) -> bytes:
    return _bytes(1, _message(value, _RESPONSE))


_FORMS: dict[str, Callable[[int, Any], bytes]] = {
    "text": lambda n, v: _bytes(n, str(v).encode()),
    "texts": lambda n, v: b"".join(_bytes(n, str(t).encode()) for t in v),
    "bool": lambda n, v: _varint(n << 3) + _varint(1) if v else b"",
    "int": lambda n, v: _varint(n << 3) + _varint(int(v)),
    "double": lambda n, v: _varint(n << 3 | 1) + struct.pack("<d", float(v)),
    "any": lambda n, v: _bytes(n, _any(v)),
    "anys": lambda n, v: b"".join(_bytes(n, _any(a)) for a in v),
    "info": lambda n, v: _bytes(n, _message(v, _INFO)),
    "paths": lambda n, v: _bytes(n, _named(2, v, lambda p: _message(p, _PATH))),
    "schemas": lambda n, v: _bytes(n, _named(1, v, _schema)),
    "schema": lambda n, v: _bytes(n, _schema(v)),
    "schema-item": lambda n, v: _bytes(n, _bytes(1, _schema(v))),
    "open": lambda n, v: _bytes(n, _bytes(1, _schema(v)) if isinstance(v, Mapping) else _varint(2 << 3) + _varint(int(v))),
    "type": lambda n, v: _bytes(n, b"".join(_bytes(1, t.encode()) for t in ([v] if isinstance(v, str) else v))),
    "items": lambda n, v: _bytes(n, _bytes(1, _schema(v))),
    "operation": lambda n, v: _bytes(n, _message(v, _OPERATION)),
    "parameters": lambda n, v: b"".join(_bytes(n, _parameter(p)) for p in v),
    "responses": lambda n, v: _bytes(n, _named(1, v, _response)),
}
