"""Patch bodies: bytes to the JSON value that the patch form asks for, with Go's words when they are not."""

from __future__ import annotations

from typing import Any

import msgspec

from skerry.apiserver.schema.budget import require_few_values
from skerry.apiserver.schema.codec import MAX_DEPTH, depth_exceeds
from skerry.apiserver.schema.gojson import go_words
from skerry.apiserver.schema.scalars import json_type
from skerry.model.errors import ApiError, bad_request
from skerry.model.objects import Object
from skerry.model.unreadable import NOT_JSON

MAX_OPERATIONS = 10_000


def read_json_patch(body: bytes) -> list[dict[str, Any]]:
    """Return the operations of a JSON patch; raises ApiError 400, or 413 for more than 10,000 of them."""
    found = _decoded(body)
    if not isinstance(found, list):
        raise bad_request(f"error decoding patch: json: cannot unmarshal {json_type(found)} into Go value of type []handlers.jsonPatchOp")
    if len(found) > MAX_OPERATIONS:
        message = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(found)}"
        raise ApiError(413, "RequestEntityTooLarge", message)
    for operation in found:
        if not isinstance(operation, dict):
            found_type = json_type(operation)
            raise bad_request(f"error decoding patch: json: cannot unmarshal {found_type} into Go value of type handlers.jsonPatchOp")
    return found


def read_merge_patch(body: bytes) -> Object:
    """Return the object of a merge or strategic merge patch; raises ApiError 400."""
    found = _decoded(body)
    if not isinstance(found, dict):
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {json_type(found)} into Go value of type map[string]interface {{}}"
        )
    return found


def _decoded(body: bytes) -> Any:
    require_few_values(body)
    try:
        found = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise bad_request(f"error decoding patch: {go_words(body, error)}") from None
    if depth_exceeds(found, MAX_DEPTH):
        raise bad_request(f"error decoding patch: nested deeper than {MAX_DEPTH}")
    return found
