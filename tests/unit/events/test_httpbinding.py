"""CloudEvents over HTTP, both ways."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.events.cloudevents import Event, EventError
from skerry.events.httpbinding import decode_value, encode_value, from_http, to_binary, to_structured

TEXT = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(TEXT)
def test_an_attribute_value_survives_a_header_and_is_plain_there(text: str) -> None:
    encoded = encode_value(text)

    assert all(0x20 < ord(c) < 0x7F and c != '"' for c in encoded)
    assert decode_value(encoded) == text


def test_the_specifications_own_example() -> None:
    assert encode_value("Euro € 😀") == "Euro%20%E2%82%AC%20%F0%9F%98%80"


@given(TEXT, TEXT, st.one_of(st.none(), st.binary(min_size=1), st.dictionaries(TEXT, st.integers(-(2**53), 2**53))))
def test_an_event_survives_both_modes(identifier: str, subject: str, data: Any) -> None:
    event = Event(id=identifier, source="/s", type="t", subject=subject, data=data, extensions={"severity": "17"})
    if isinstance(data, bytes):
        event = msgspec.structs.replace(event, datacontenttype="application/octet-stream")
    elif data is not None:
        event = msgspec.structs.replace(event, datacontenttype="application/json")

    assert from_http(*to_binary(event)) == [event]
    assert from_http(*to_structured(event)) == [event]


def test_binary_mode_writes_attributes_as_headers_and_data_as_it_is() -> None:
    headers, body = to_binary(Event(id="1", source="/a b", type="t", data={"flow": 1.5}, extensions={"test": True}))

    assert (headers["ce-source"], headers["ce-test"], headers["ce-specversion"]) == ("/a%20b", "true", "1.0")
    assert (headers["content-type"], body) == ("application/json", b'{"flow":1.5}')


def test_a_batch_is_read_whole() -> None:
    doc = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}

    assert len(from_http({"content-type": "application/cloudevents-batch+json"}, msgspec.json.encode([doc, doc]))) == 2


GOOD = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"{}"),
        ({"content-type": "text/plain"}, b"ok"),
        ({**GOOD, "ce-id": ""}, b""),
        ({k: v for k, v in GOOD.items() if k != "ce-id"}, b""),
        ({**GOOD, "ce-type": "t" * 3000}, b""),
        ({**GOOD, "ce-source": "/a%0d%0ax"}, b""),
        ({**GOOD, "ce-source": "/a%zz"}, b""),
        ({**GOOD, "ce-source": "/%ff"}, b""),
        ({**GOOD, "ce-bad_name": "x"}, b""),
        ({**GOOD, "content-type": "application/json"}, b"{"),
        ({**GOOD, "ce-specversion": "2.0"}, b""),
        ({"content-type": "application/cloudevents+json"}, b"[1]"),
        ({"content-type": "application/cloudevents+json"}, b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"%"}'),
        ({"content-type": "application/cloudevents+avro"}, b"x"),
        ({"content-type": "application/cloudevents-batch+json"}, b"{}"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[" + b"{}," * 1000 + b"{}]"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[" * 100_000),
    ],
)
def test_what_is_not_an_event_is_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(EventError):
        from_http(headers, body)
