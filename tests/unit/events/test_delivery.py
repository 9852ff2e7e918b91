"""The rules of delivery: verdicts, pauses, replies, dead letters."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from skerry.events.cloudevents import Event
from skerry.events.delivery import (
    TTL_EXTENSION,
    Delivery,
    Reply,
    Sink,
    UnresolvedError,
    Verdict,
    answer_event,
    dead_letter,
    delivery_of,
    verdict,
)

EVENT = Event(id="1", source="/s", type="t", data={"a": 1})
CE = {"ce-specversion": "1.0", "ce-id": "r", "ce-source": "/reply", "ce-type": "t", "content-type": "application/json"}
SUBSCRIBER = {"subscriber": {"uri": "http://h/"}}


@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 502, 503, 599])
def test_what_may_change_is_tried_again(status: int) -> None:
    assert verdict(Reply(status, {}, b"")) is Verdict.RETRY


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 410, 413, 418])
def test_what_will_not_change_is_given_up(status: int) -> None:
    assert verdict(Reply(status, {}, b"")) is Verdict.REFUSED


def test_no_answer_is_tried_again() -> None:
    assert verdict(None) is Verdict.RETRY


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (200, {}, b"", Verdict.TAKEN),
        (204, {}, b"", Verdict.TAKEN),
        (202, {}, b"thanks", Verdict.TAKEN),
        (200, CE, b"{}", Verdict.TAKEN),
        (200, {}, b"thanks", Verdict.RETRY),
        (200, {"content-type": "application/json"}, b"{}", Verdict.RETRY),
    ],
)
def test_an_accepting_answer_is_empty_or_an_event(status: int, headers: dict[str, str], body: bytes, expected: Verdict) -> None:
    assert verdict(Reply(status, headers, body)) is expected


def test_pauses_grow_as_the_policy_says_and_end_somewhere() -> None:
    exponential, linear = Delivery(Sink("http://h/"), delay_s=0.2), Delivery(Sink("http://h/"), delay_s=0.2, linear=True)

    assert [round(exponential.pause_s(n), 1) for n in (1, 2, 3, 4, 1000)] == [0.2, 0.4, 0.8, 1.6, 600.0]
    assert [round(linear.pause_s(n), 1) for n in (1, 2, 3, 4)] == [0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(("text", "pause"), [("5", 5.0), ("3600", 60.0), ("-1", 0.2), ("x", 0.2), ("٣", 0.2), ("9" * 400, 0.2)])
def test_retry_after_is_honoured_up_to_its_bound(text: str, pause: float) -> None:
    assert Delivery(Sink("http://h/"), retry_after_max_s=60).pause_s(1, text) == pause


def test_a_triggers_delivery_replaces_its_brokers_entirely() -> None:
    broker: dict[str, Any] = {"delivery": {"retry": 1, "backoffPolicy": "linear", "deadLetterSink": {"uri": "http://dead/"}}}

    inherited = delivery_of(SUBSCRIBER, broker)
    own = delivery_of({**SUBSCRIBER, "delivery": {"backoffDelay": "PT1S", "timeout": "PT2S", "format": "json"}}, broker)

    assert (inherited.retry, inherited.linear, inherited.dead_letter) == (1, True, Sink("http://dead/"))
    assert (own.retry, own.linear, own.delay_s, own.timeout_s, own.structured, own.dead_letter) == (10, False, 1.0, 2.0, True, None)


def test_a_reference_is_said_to_be_unsupported() -> None:
    with pytest.raises(UnresolvedError, match=r"Service web\) is not supported yet: give spec.subscriber.uri"):
        delivery_of({"subscriber": {"ref": {"kind": "Service", "name": "web"}}}, {})


def test_an_answered_event_counts_down_until_it_goes_round_no_more() -> None:
    reply = Reply(200, CE, b"{}")
    seen = []
    event = answer_event(reply, EVENT)
    while event is not None:
        seen.append(event.extensions[TTL_EXTENSION])
        event = answer_event(reply, event)

    assert seen == list(range(254, 0, -1))


@pytest.mark.parametrize("forged", ["x", "99999999", -5, True, "٣"])
def test_a_forged_counter_ends_the_round_or_starts_within_the_bound(forged: str | int | bool) -> None:
    found = answer_event(Reply(200, CE, b"{}"), Event(id="1", source="/s", type="t", extensions={TTL_EXTENSION: forged}))

    assert found is None or 0 < int(found.extensions[TTL_EXTENSION]) <= 255


def test_the_counter_is_not_delivered() -> None:
    headers, _ = Delivery(Sink("http://h/")).message(Event(id="1", source="/s", type="t", extensions={TTL_EXTENSION: 7, "x": "y"}))

    assert "ce-knativebrokerttl" not in headers
    assert (headers["ce-x"], headers["prefer"]) == ("y", "reply")


def test_a_dead_letter_says_where_it_should_have_gone_and_what_came_back() -> None:
    found = dead_letter(EVENT, Delivery(Sink("http://h/x")), Reply(503, {}, b"z" * 5000)).extensions

    assert (found["knativeerrordest"], found["knativeerrorcode"]) == ("http://h/x", 503)
    assert len(str(found["knativeerrordata"])) <= 1024
    assert base64.b64decode(str(found["knativeerrordata"])).startswith(b"zzz")
