"""Bodies: from bytes to an object that its kind can have been asked for."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.http.media import JSON, PROTOBUF, YAML, body_media
from skerry.apiserver.http.message import Request
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.schema import KindSchema
from skerry.apiserver.schema.budget import require_few_values
from skerry.apiserver.schema.codec import decode_body
from skerry.model.errors import ApiError, bad_request, unsupported_media_type
from skerry.model.objects import Object


def read_object(kind: Kind, request: Request, options: WriteOptions) -> Object:
    """Return the object in the body, pruned; complaints become warnings or, under Strict, ApiError 400."""
    obj = read_as(kind.schema, request, options)
    if not isinstance(obj.get("metadata"), dict):
        if obj.get("metadata") is not None:
            kind.schema.prune_unknown(obj)
        obj["metadata"] = {}
    return obj


def read_as(schema: KindSchema, request: Request, options: WriteOptions) -> Object:
    """Return the object of *schema*'s kind in the body."""
    ignore = options.field_validation == "Ignore"
    media = request.headers.get("content-type", "")
    try:
        obj, duplicates = decode_body(media, request.body, schema, find_duplicates=not ignore)
    except ApiError as error:
        complaints, error.warnings = list(error.warnings), ()
        complain(complaints, options, schema)
        raise
    unknown = schema.prune_unknown(obj)
    if (unknown or duplicates) and not ignore:
        complain([f'unknown field "{path}"' for path in unknown] + [f'duplicate field "{path}"' for path in duplicates], options, schema)
    return obj


def read_options(request: Request) -> dict[str, Any]:
    """Return DeleteOptions as they came, {} without a body."""
    if not request.body:
        return {}
    media = body_media(request.headers.get("content-type", ""))
    if media == PROTOBUF:
        from skerry.apiserver.schema.protobuf import decode as decode_protobuf

        return decode_protobuf(request.body)
    if media == YAML:
        from skerry.apiserver.schema.yaml_body import decode_yaml

        return decode_yaml(request.body, "the options provided are unrecognized")[0]
    if media != JSON:
        raise unsupported_media_type([JSON, YAML, PROTOBUF])
    require_few_values(request.body)
    try:
        found = decode(request.body)
    except ValueError as error:
        raise bad_request(f"the options provided are unrecognized: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise bad_request("the options provided are unrecognized: they must be an object (DeleteOptions)")
    if found.get("kind") not in (None, "", "DeleteOptions"):
        raise bad_request(f"the options provided are unrecognized: they are a {str(found['kind'])[:64]}, not DeleteOptions")
    return found


def complain(texts: list[str], options: WriteOptions, schema: KindSchema) -> None:
    """Turn complaints into warnings or, under Strict, into ApiError 400; Ignore says nothing."""
    if not texts or options.field_validation == "Ignore":
        return
    if options.field_validation == "Strict":
        refusal = f'{schema.kind} in version "{schema.version}" cannot be handled as a {schema.kind}'
        raise bad_request(f"{refusal}: strict decoding error: {', '.join(texts)}")
    options.warnings += [t for t in texts if t not in options.warnings]
