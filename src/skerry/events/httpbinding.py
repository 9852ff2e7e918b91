"""CloudEvents over HTTP: binary, structured and batch, both ways, as values.

Source: CloudEvents 1.0.2, HTTP protocol binding and JSON format. Attribute values are percent-encoded in headers; `data` is inline for
JSON, text for other text, bytes otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from skerry.events.cloudevents import Event, EventError, from_json, from_mapping
from skerry.model.unreadable import NOT_JSON

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MAX_BATCH = 1000

_JSON = re.compile(r"(application|text)/(json|[^/;+\s]+\+json)", re.IGNORECASE)
_PLAIN = frozenset(chr(c) for c in range(0x21, 0x7F)) - {'"', "%"}
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def is_json(content_type: str) -> bool:
    """Say whether data of this media type is written inline; without one it is JSON."""
    return not content_type or _JSON.fullmatch(content_type.partition(";")[0].strip()) is not None


def encode_value(value: str | int | bool) -> str:
    """Return an attribute's value as a header carries it."""
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return "".join(c if c in _PLAIN else "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogatepass")) for c in text)


def decode_value(text: str) -> str:
    """Undo `encode_value`; raises EventError when the escapes are not UTF-8."""
    if _ESCAPE.search(text):
        raise EventError(f"attribute value {text[:64]!r} has a stray %")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise EventError(f"attribute value {text[:64]!r} is not percent-encoded UTF-8") from error


def to_binary(event: Event) -> tuple[dict[str, str], bytes]:
    """Return headers and body of the binary mode."""
    attributes = event.attributes()
    content_type = str(attributes.pop("datacontenttype", ""))
    headers = {f"ce-{name}": encode_value(value) for name, value in attributes.items()}
    if event.data is None:
        return headers, b""
    if isinstance(event.data, bytes):
        return {**headers, "content-type": content_type or "application/octet-stream"}, event.data
    if isinstance(event.data, str) and not is_json(content_type):
        return {**headers, "content-type": content_type}, event.data.encode()
    return {**headers, "content-type": content_type or "application/json"}, msgspec.json.encode(event.data)


def to_structured(event: Event) -> tuple[dict[str, str], bytes]:
    """Return headers and body of the structured mode."""
    return {"content-type": f"{STRUCTURED}; charset=utf-8"}, event.to_json()


def from_http(headers: Mapping[str, str], body: bytes) -> list[Event]:
    """Read the event, or the batch, of a message; *headers* are lower-case. Raises EventError naming what is wrong."""
    content_type = headers.get("content-type", "")
    media = content_type.partition(";")[0].strip().lower()
    if media.startswith("application/cloudevents-batch"):
        return _batch(media, body)
    if media.startswith("application/cloudevents"):
        if media != STRUCTURED:
            raise EventError(f"content type {media!r} is not supported: use {STRUCTURED}")
        return [from_json(body)]
    return [_binary(headers, content_type, body)]


def _batch(media: str, body: bytes) -> list[Event]:
    if media != BATCH:
        raise EventError(f"content type {media!r} is not supported: use {BATCH}")
    try:
        found = msgspec.json.decode(body, type=list[Any])
    except NOT_JSON as error:
        raise EventError(f"not a JSON array of events: {error}") from error
    if len(found) > MAX_BATCH:
        raise EventError(f"a batch has {len(found)} events; the limit is {MAX_BATCH}")
    return [from_mapping(doc) for doc in found]


def _binary(headers: Mapping[str, str], content_type: str, body: bytes) -> Event:
    attributes: dict[str, Any] = {k[3:]: decode_value(v) for k, v in headers.items() if k.startswith("ce-")}
    if "specversion" not in attributes:
        raise EventError("neither a ce-specversion header nor content type application/cloudevents+json: this is not a CloudEvent")
    if content_type:
        attributes["datacontenttype"] = content_type
    attributes.pop("data", None)
    event = from_mapping(attributes)
    return msgspec.structs.replace(event, data=_data(content_type, body)) if body else event


def _data(content_type: str, body: bytes) -> Any:
    if content_type and is_json(content_type):
        try:
            return msgspec.json.decode(body)
        except NOT_JSON as error:
            raise EventError(f"the body is not the JSON that content type {content_type[:64]!r} promises: {error}") from error
    if content_type.startswith("text/"):
        try:
            return body.decode()
        except UnicodeDecodeError:
            return body
    return body
