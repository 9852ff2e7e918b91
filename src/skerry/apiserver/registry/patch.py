"""PATCH: JSON, merge and strategic merge patches as a transformation, which is applied anew when another write came first."""

from __future__ import annotations

from skerry.apiserver.http.bare import BareError
from skerry.apiserver.http.media import body_media
from skerry.apiserver.http.message import Request
from skerry.apiserver.patch import json_patch, merge, read_json_patch, read_merge_patch, strategic
from skerry.apiserver.registry.body import complain
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.ownership import Ownership
from skerry.apiserver.registry.unreadable import UnreadableError
from skerry.apiserver.registry.update import Transform
from skerry.apiserver.schema.codec import unlike
from skerry.model.errors import ApiError, bad_request, invalid, invalid_value
from skerry.model.objects import Object

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
APPLY_CBOR = "application/apply-patch+cbor"


def transform_of(kind: Kind, request: Request, options: WriteOptions) -> Transform:
    """Return the change that a PATCH request asks for; ApiError 415 for a form that this kind does not take."""
    media = body_media(request.headers.get("content-type", "") or "none")
    return transform(kind, media, request.body, options)


def is_apply(request: Request) -> bool:
    """Say whether a PATCH request is a server-side apply; ApiError 415 for its CBOR form."""
    media = body_media(request.headers.get("content-type", "") or "none")
    if media == APPLY_CBOR:
        raise ApiError(415, "UnsupportedMediaType", f"{media} is not supported: apply with {APPLY_PATCH}")
    return media == APPLY_PATCH


def ownership_of(request: Request) -> Ownership:
    """Return what a patch says about managedFields: nothing, unless it could reach them."""
    body = request.body
    if b"managedFields" in body or b"\\u" in body:
        return Ownership.PATCHED
    whole = (b'"/metadata"' in body or b'""' in body) and body_media(request.headers.get("content-type", "")) == JSON_PATCH
    return Ownership.PATCHED if whole else Ownership.TRACKED


def transform(kind: Kind, media: str, body: bytes, options: WriteOptions) -> Transform:
    """Return the change of a patch of type *media*."""
    if media == JSON_PATCH:
        operations = read_json_patch(body)
        return lambda old: _tidied(kind, json_patch(old, operations), old, options)
    if media == MERGE_PATCH:
        change = read_merge_patch(body)
        return lambda old: _tidied(kind, merge(old, change), old, options)
    if media == STRATEGIC_PATCH and not kind.custom:
        change = read_merge_patch(body)
        return lambda old: _tidied(kind, strategic(old, change, kind.schema), old, options)
    raise unsupported(kind, media)


def _tidied(kind: Kind, new: Object, old: Object, options: WriteOptions) -> Object:
    """Return the patched object pruned, under the kind that it had."""
    if not isinstance(new, dict):
        raise bad_request("the patch does not leave an object")
    if any(new.setdefault(key, old[key]) != old[key] for key in ("apiVersion", "kind")):
        raise UnreadableError(new, unlike(new["kind"], new["apiVersion"], kind.schema))
    if not isinstance(new.get("metadata"), dict):
        new["metadata"] = {}
    try:
        unknown = kind.schema.prune_unknown(new)
    except ApiError as error:
        raise UnreadableError(new, error.message.removeprefix(kind.schema.refusal)) from None
    try:
        complain([f'unknown field "{path}"' for path in unknown], options, kind.schema)
    except ApiError as error:
        raise UnreadableError(new, error.message.removeprefix(f"{kind.schema.refusal}")) from None
    uid = new["metadata"].get("uid")
    if uid and uid != old["metadata"].get("uid"):
        resource = kind.resource
        cause = invalid_value("metadata.uid", uid, "field is immutable")
        refusal = invalid(resource.kind, resource.group, old["metadata"]["name"], [cause])
        refusal.details["causes"] *= 2  # Kubernetes judges it twice: for every object, and for the kind
        raise refusal
    return new


def unsupported(kind: Kind, media: str) -> ApiError:
    """Return the 415 for a patch of type *media*."""
    if not kind.custom:
        return BareError(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    accepted = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", message)
