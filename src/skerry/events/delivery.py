"""The rules of delivering one event to one subscriber: how often, how long between, what counts as taken, what comes back.

As Knative has it, and where its text and its reference differ, the reference: `linear` waits delay x attempt, `exponential` delay x
2^(attempt-1), attempts counted from 1. A Trigger's `delivery` replaces its Broker's entirely. Without any, 10 retries, exponential
from 0.2 s, 30 s an attempt. Only an answer that may change is tried again: none, 5xx, 404, 408, 409, 429.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.events.cloudevents import Event, EventError
from skerry.events.httpbinding import from_http, to_binary, to_structured
from skerry.model.kinds.delivery import parse_iso_duration
from skerry.model.objects import dig

TTL_EXTENSION = "knativebrokerttl"
DEFAULT_TTL = 255
MAX_PAUSE_S = 600.0
_ERROR_DATA_CHARS = 1024


class UnresolvedError(Exception):
    """The Trigger cannot be run as it stands; the message names what is supported."""


class Verdict(enum.Enum):
    """What an answer means."""

    TAKEN = "taken"
    RETRY = "retry"
    REFUSED = "refused"


class Sink(msgspec.Struct, frozen=True):
    """Where to POST; `ca_certs` is PEM, "" for the system's."""

    uri: str
    ca_certs: str = ""


class Reply(msgspec.Struct, frozen=True):
    """A subscriber's answer; header names are lower-case, a body beyond the limit is cut and `whole` is False."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True


class Delivery(msgspec.Struct, frozen=True):
    """How events of one Trigger are delivered."""

    subscriber: Sink
    retry: int = 10
    linear: bool = False
    delay_s: float = 0.2
    timeout_s: float = 30.0
    retry_after_max_s: float = 60.0
    structured: bool = False
    dead_letter: Sink | None = None

    def pause_s(self, attempt: int, retry_after: str = "") -> float:
        """Return how long to wait after attempt number *attempt*; a Retry-After in seconds is honoured up to its bound."""
        factor = attempt if self.linear else 2.0 ** min(attempt - 1, 32)
        asked = float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 10 else 0.0
        return max(min(self.delay_s * factor, MAX_PAUSE_S), min(asked, self.retry_after_max_s))

    def message(self, event: Event) -> tuple[dict[str, str], bytes]:
        """Return headers and body that deliver *event*."""
        extensions = {k: v for k, v in event.extensions.items() if k != TTL_EXTENSION}
        event = msgspec.structs.replace(event, extensions=extensions) if len(extensions) < len(event.extensions) else event
        headers, body = to_structured(event) if self.structured else to_binary(event)
        return {**headers, "prefer": "reply"}, body


def subscriber_of(spec: Mapping[str, Any]) -> Sink:
    """Return where a Trigger delivers to; raises UnresolvedError for what this version cannot resolve."""
    return _sink("spec.subscriber", spec.get("subscriber") or {})


def dead_letter_of(spec: Mapping[str, Any], broker_spec: Mapping[str, Any]) -> Sink | None:
    """Return the dead letter sink of the Trigger, else of its Broker; raises UnresolvedError."""
    sink = dig(_delivery_spec(spec, broker_spec), "deadLetterSink")
    return _sink("deadLetterSink", sink) if sink else None


def _sink(field: str, destination: Mapping[str, Any]) -> Sink:
    if destination.get("ref"):
        ref = destination["ref"]
        what = f"{field}.ref ({ref.get('kind')} {ref.get('name')})"
        raise UnresolvedError(f"{what} is not supported yet: give {field}.uri, an http or https address as the node sees it")
    return Sink(str(destination.get("uri") or ""), str(destination.get("CACerts") or ""))


def _delivery_spec(spec: Mapping[str, Any], broker_spec: Mapping[str, Any]) -> Mapping[str, Any]:
    return spec.get("delivery") or broker_spec.get("delivery") or {}


def delivery_of(spec: Mapping[str, Any], broker_spec: Mapping[str, Any]) -> Delivery:
    """Return the rules for a Trigger of a Broker; raises UnresolvedError for a subscriber that cannot be resolved."""
    found = _delivery_spec(spec, broker_spec)
    default = Delivery(subscriber_of(spec))
    try:
        dead_letter = dead_letter_of(spec, broker_spec)
    except UnresolvedError:
        dead_letter = None  # the Trigger's condition says so; events that cannot be delivered are counted as dropped
    return Delivery(
        subscriber=default.subscriber,
        retry=default.retry if found.get("retry") is None else int(found["retry"]),
        linear=found.get("backoffPolicy") == "linear",
        delay_s=_seconds(found.get("backoffDelay"), default.delay_s),
        timeout_s=_seconds(found.get("timeout"), default.timeout_s),
        retry_after_max_s=_seconds(found.get("retryAfterMax"), default.retry_after_max_s),
        structured=found.get("format") == "json",
        dead_letter=dead_letter,
    )


def _seconds(text: str | None, default: float) -> float:
    return default if text is None else parse_iso_duration(text)


def verdict(reply: Reply | None) -> Verdict:
    """Judge an answer; None is none at all."""
    if reply is None or reply.status >= 500 or reply.status in (404, 408, 409, 429):
        return Verdict.RETRY
    if not 200 <= reply.status < 300:
        return Verdict.REFUSED
    if reply.status == 202 or not reply.body.strip():
        return Verdict.TAKEN
    return Verdict.TAKEN if _is_event(reply) else Verdict.RETRY


def _is_event(reply: Reply) -> bool:
    try:
        return len(from_http(reply.headers, reply.body)) == 1 if reply.whole else False
    except EventError:
        return False


def describe(reply: Reply | None, error: str = "") -> str:
    """Say in one line why an attempt failed."""
    if reply is None:
        return error or "no answer"
    if 200 <= reply.status < 300:
        return f"answered {reply.status} with a body that is not a CloudEvent: answer 202, or with an empty body"
    return f"answered {reply.status}"


def answer_event(reply: Reply, delivered: Event) -> Event | None:
    """Return the event that an accepted answer sends back into the Broker, or None; the loop guard counts down with each pass."""
    if reply.status == 202 or not reply.body.strip():
        return None
    event = from_http(reply.headers, reply.body)[0]
    left = delivered.extensions.get(TTL_EXTENSION, DEFAULT_TTL)
    ttl = (int(left) if isinstance(left, int) or (left.isascii() and left.isdigit() and len(left) < 4) else DEFAULT_TTL) - 1
    if ttl <= 0:
        return None
    return msgspec.structs.replace(event, extensions={**event.extensions, TTL_EXTENSION: min(ttl, DEFAULT_TTL)})


def dead_letter(event: Event, delivery: Delivery, reply: Reply | None) -> Event:
    """Return *event* as the dead letter sink gets it: with where it should have gone and what came back."""
    import base64  # here only: most nodes never have one

    data = base64.b64encode(reply.body[: math.ceil(_ERROR_DATA_CHARS * 3 / 4)]).decode()[:_ERROR_DATA_CHARS] if reply else ""
    more: dict[str, str | int | bool] = {"knativeerrordest": delivery.subscriber.uri, "knativeerrorcode": reply.status if reply else 0}
    if data:
        more["knativeerrordata"] = data
    return msgspec.structs.replace(event, extensions={**event.extensions, **more})
