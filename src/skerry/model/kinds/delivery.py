"""What Broker and Trigger share: where events go (Destination) and how hard we try (DeliverySpec), as Knative defines them.

Source: knative.dev/pkg/apis/duck/v1 Destination, knative.dev/eventing DeliverySpec. An admission rule here refuses what skerry
would otherwise have to ignore; what only this release cannot resolve (`ref`) is admitted and said in a condition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from skerry.model.errors import Cause, invalid_value, not_supported, required

MAX_RETRY = 1000
"""Attempts after the first; more is a mistake (with the longest pause, 1,000 attempts take weeks)."""
MAX_DURATION_S = 24 * 3600.0

_ISO_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_URI = re.compile(r"[!-~]{1,2048}")

REFERENCE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "An object that can be addressed.",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "name": {"type": "string"},
        "namespace": {"type": "string"},
        "group": {"type": "string"},
        "address": {"type": "string"},
    },
}

DESTINATION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Where events go: an absolute http or https URI. A reference to an object is admitted, but not resolved yet.",
    "properties": {
        "ref": REFERENCE_SCHEMA,
        "uri": {"type": "string", "description": "http://host:port/path; as the node sees the host."},
        "CACerts": {"type": "string", "description": "PEM certificates that an https destination is checked against."},
        "audience": {"type": "string", "description": "OIDC audience; not used."},
    },
}

DELIVERY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "How delivery is tried, and where an event goes that could not be delivered.",
    "properties": {
        "deadLetterSink": DESTINATION_SCHEMA,
        "retry": {"type": "integer", "format": "int32", "description": "Attempts after the first; default 10."},
        "backoffPolicy": {"type": "string", "description": "linear or exponential (the default)."},
        "backoffDelay": {"type": "string", "description": "ISO 8601 duration before the first retry; default PT0.2S."},
        "timeout": {"type": "string", "description": "ISO 8601 duration of one attempt; default PT30S."},
        "retryAfterMax": {"type": "string", "description": "ISO 8601 duration: the longest Retry-After that is honoured."},
        "format": {"type": "string", "description": "json (structured) or binary (the default)."},
    },
}


def parse_iso_duration(text: str) -> float:
    """Return seconds of an ISO 8601 duration such as PT0.2S or P1DT2H; raises ValueError naming the text."""
    match = _ISO_DURATION.fullmatch(text) if len(text) <= 64 else None
    if match is None or not any(match.groups()):
        raise ValueError(f"{text[:64]!r} is not an ISO 8601 duration such as PT0.2S or PT1M")
    days, hours, minutes, seconds = (float(g or 0) for g in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def destination_causes(field: str, destination: Mapping[str, Any] | None) -> list[Cause]:
    """Judge one Destination: ref or an absolute http(s) URI without credentials in it."""
    found = destination or {}
    ref, uri = found.get("ref"), found.get("uri")
    if not ref and not uri:
        return [required(field, "expected at least one, got none: ref, uri")]
    if ref:
        missing = [k for k in ("apiVersion", "kind", "name") if not ref.get(k)]
        return [required(f"{field}.ref.{k}") for k in missing]
    wrong = uri_error(str(uri))
    return [invalid_value(f"{field}.uri", uri, wrong)] if wrong else []


def uri_error(uri: str) -> str | None:
    """Return what is wrong with *uri* as a place to deliver to, or None."""
    if not _URI.fullmatch(uri):
        return "must be 1 to 2048 printable ASCII characters without spaces"
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        return f"is not a URI: {error}"
    if parts.scheme not in ("http", "https"):
        return "must be absolute with scheme http or https"
    if not parts.hostname or port == 0:
        return "must name a host, and a port between 1 and 65535 if any"
    if "@" in parts.netloc:
        return "must not carry a user name or password"
    return None


def delivery_causes(field: str, delivery: Mapping[str, Any] | None) -> list[Cause]:
    """Judge a DeliverySpec."""
    if not delivery:
        return []
    found: list[Cause] = []
    retry = delivery.get("retry")
    if retry is not None and not 0 <= retry <= MAX_RETRY:
        found.append(invalid_value(f"{field}.retry", retry, f"must be between 0 and {MAX_RETRY}"))
    for name, choices in (("backoffPolicy", ["linear", "exponential"]), ("format", ["json", "binary"])):
        if delivery.get(name) is not None and delivery[name] not in choices:
            found.append(not_supported(f"{field}.{name}", delivery[name], choices))
    for name in ("backoffDelay", "timeout", "retryAfterMax"):
        found += _duration_causes(f"{field}.{name}", delivery.get(name), positive=name == "timeout")
    if delivery.get("deadLetterSink") is not None:
        found += destination_causes(f"{field}.deadLetterSink", delivery["deadLetterSink"])
    return found


def _duration_causes(field: str, text: str | None, *, positive: bool) -> list[Cause]:
    if text is None:
        return []
    try:
        seconds = parse_iso_duration(text)
    except ValueError:
        return [invalid_value(field, text, "must be an ISO 8601 duration such as PT0.2S or PT1M")]
    if seconds > MAX_DURATION_S or (positive and seconds <= 0):
        return [invalid_value(field, text, f"must be {'above 0 and ' if positive else ''}at most PT24H")]
    return []


def complete_destination(destination: Any, namespace: str) -> None:
    """Fill in the namespace of a reference, as Knative's defaulting does."""
    ref = destination.get("ref") if isinstance(destination, dict) else None
    if isinstance(ref, dict) and not ref.get("namespace"):
        ref["namespace"] = namespace
