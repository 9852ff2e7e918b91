"""Request bodies: JSON, YAML and protobuf to an object, with every limit checked before the work it limits.

Keys that stand twice in a JSON map are found without paying for it on ordinary bodies: the quotes of the text are counted, and those
of what its object encodes to; only a body that really has a duplicate is read a second time, by the parser that can say where.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from skerry.apiserver.schema.budget import require_few_values
from skerry.apiserver.schema.facts import FACTS
from skerry.apiserver.schema.gojson import go_words
from skerry.apiserver.schema.kind import KindSchema
from skerry.apiserver.schema.scalars import json_type
from skerry.model.errors import ApiError, bad_request, invalid, unsupported_media_type
from skerry.model.objects import Object, name_of
from skerry.model.unreadable import NOT_JSON

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

MAX_DEPTH = 128
"""Levels of maps and lists. The deepest CRDs in use (a PodTemplate in a schema) need about 60."""

_SHOWN = 30
_SHOWN_WHOLE = 4096
"""How much of a body without a kind is repeated: bytes."""
_TYPE_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_SCHEME = "pkg/api/legacyscheme/scheme.go:30"
"""What Kubernetes 1.32 calls its table of built-in kinds; part of an error's text on the wire."""


def decode_body(content_type: str, body: bytes, schema: KindSchema, *, find_duplicates: bool = True) -> tuple[Object, list[str]]:
    """Return the object in *body* and the paths of keys that stand twice (for fieldValidation Strict and Warn).

    No content type means JSON; protobuf is for built-in kinds. apiVersion and kind are checked against *schema* (a built-in
    may leave them out) and are set in what is returned. Raises ApiError 400, or 415 for another content type.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media in ("", JSON, "application/*", "*/*"):
        obj, duplicates = _decode_json(body, schema, find_duplicates=find_duplicates)
    elif media in (YAML, "application/x-yaml", "text/yaml"):
        from skerry.apiserver.schema.yaml_body import decode_yaml

        obj, duplicates = decode_yaml(body, f"the object provided is unrecognized (must be of type {schema.kind})", f" ({_shown(body)})")
    elif media == PROTOBUF and schema.builtin:
        from skerry.apiserver.schema.protobuf import decode

        obj, duplicates = decode(body), []
    else:
        raise unsupported_media_type([JSON, YAML, PROTOBUF] if schema.builtin else [JSON, YAML])
    _identify(obj, schema, body)
    return obj, duplicates


def _decode_json(body: bytes, schema: KindSchema, *, find_duplicates: bool) -> tuple[Object, list[str]]:
    require_few_values(body)
    try:
        obj = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise _unreadable(schema, f"couldn't get version/kind; json parse error: {go_words(body, error)}", body) from None
    if obj is None:
        return {}, []
    if obj.__class__ is not dict:
        found = f"json: cannot unmarshal {json_type(obj)} into Go value of type {_TYPE_META}"
        raise _unreadable(schema, f"couldn't get version/kind; json parse error: {found}", body)
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and depth_exceeds(obj, MAX_DEPTH):
        raise bad_request(f"the object provided is nested deeper than {MAX_DEPTH} levels")
    return obj, duplicate_keys(body, obj) if find_duplicates else []


def _unreadable(schema: KindSchema, why: str, body: bytes) -> ApiError:
    return bad_request(f"the object provided is unrecognized (must be of type {schema.kind}): {why} ({_shown(body)})")


def _shown(body: bytes) -> str:
    """Return the beginning of a body: as text when it looks like JSON, else in hexadecimal."""
    if not body:
        return "<empty>"
    text = body[:_SHOWN].decode("utf-8", "replace") if body[:1] == b"{" else body[:_SHOWN].hex()
    return text if len(body) <= _SHOWN else f"{text} ..."


def _identify(obj: Object, schema: KindSchema, body: bytes) -> None:
    """Check apiVersion and kind against what the URL asks for, in Kubernetes' words."""
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if kind == schema.kind and version == schema.api_version:
        return
    if not schema.builtin:
        _identify_custom(obj, kind, version, schema, body)
        return
    if kind not in (None, "", schema.kind) or version not in (None, "", schema.api_version):
        raise bad_request(_mismatch(kind or schema.kind, version or schema.api_version, schema))
    obj["apiVersion"], obj["kind"] = schema.api_version, schema.kind


def _identify_custom(obj: Object, kind: Any, version: Any, schema: KindSchema, body: bytes) -> None:
    if not kind or not isinstance(kind, str):
        text = body[:_SHOWN_WHOLE].decode("utf-8", "replace")
        raise _unreadable(schema, f"Object 'Kind' is missing in '{text}'", body)
    if version != schema.api_version:
        raise _other_version(obj, version or "", schema)
    # Nothing is pruned or completed for a kind that is not there, yet everything is judged.
    causes = [c for c in schema.validate(obj) if not c.field.startswith("metadata")]
    raise invalid(kind, schema.group, name_of(obj).name, causes)


def _other_version(obj: Object, version: Any, schema: KindSchema) -> ApiError:
    """Return the refusal of a custom object in another version than the URL's; of that version no field is known, which is said, too."""
    error = bad_request(f"the API version in the data ({version}) does not match the expected API version ({schema.api_version})")
    error.warnings = tuple(f'unknown field "{key}"' for key in obj if key not in ("apiVersion", "kind", "metadata"))
    return error


def _mismatch(kind: Any, version: Any, schema: KindSchema) -> str:
    refusal = f'{kind} in version "{str(version).rpartition("/")[2]}" cannot be handled as a {schema.kind}: '
    return refusal + unlike(kind, version, schema)


def unlike(kind: Any, version: Any, schema: KindSchema) -> str:
    """Return why an object of another kind cannot be one of *schema*'s, in Go's words."""
    group, _, number = str(version).rpartition("/")
    if isinstance(kind, str) and ((group, number, kind) in FACTS.kinds or kind == "List"):
        internal = schema.group.partition(".")[0] or "core"
        return f"converting ({number}.{kind}) to ({internal}.{schema.kind}): unknown conversion"
    where = "" if schema.group == "apiextensions.k8s.io" else f' in scheme "{_SCHEME}"'
    return f'no kind "{kind}" is registered for version "{version}"{where}'


def depth_exceeds(value: Any, limit: int) -> bool:
    """Return whether maps and lists are nested deeper than *limit*; does not recurse."""
    level = [value] if value.__class__ in (dict, list) else []
    depth = 0
    while level:
        depth += 1
        if depth > limit:
            return True
        level = [
            inner
            for outer in level
            for inner in (outer.values() if outer.__class__ is dict else outer)
            if inner.__class__ is dict or inner.__class__ is list
        ]
    return False


def duplicate_keys(body: bytes, obj: Any) -> list[str]:
    """Return the paths of keys that stand more than once in a JSON text; *obj* is what it decodes to."""
    # A key that stands twice loses its quotes in the object. Else their number stays, unless one in a string was written \u0022.
    if body.count(b'"') == msgspec.json.encode(obj).count(b'"') and b"\\u0022" not in body:
        return []
    return _locate(body)


class _Pairs:
    """A JSON map as it was written, for as long as duplicates are looked for."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _locate(body: bytes) -> list[str]:
    found: list[str] = []
    waiting: list[tuple[str, Any]] = [("", json.loads(body, object_pairs_hook=_Pairs))]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, _Pairs):
            seen: set[str] = set()
            for key, inner in value.pairs:
                at = f"{path}.{key}" if path else key
                if key in seen and at not in found:
                    found.append(at)
                seen.add(key)
                waiting.append((at, inner))
        elif isinstance(value, list):
            waiting.extend((f"{path}[{i}]", inner) for i, inner in enumerate(value))
    return sorted(found)
