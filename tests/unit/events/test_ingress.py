"""Events into a Broker over HTTP (faults.md inputs 1-4, 41, 44)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from skerry.events.cloudevents import Event
from skerry.events.log import Outbox
from skerry.model.objects import Name
from skerry.node.eventing.ingress import BrokerIngress, NotLoopbackError

CE = "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /app\r\nce-type: t\r\n"


@pytest.fixture
async def ingress(outbox: Outbox) -> AsyncIterator[BrokerIngress]:
    made = BrokerIngress(outbox, lambda broker: broker == Name("plant", "default"))
    await made.open("127.0.0.1", 0)
    yield made
    await made.close()


async def say(ingress: BrokerIngress, raw: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(*ingress.address)
    try:
        writer.write(raw)
        async with asyncio.timeout(60):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            return int(head[9:12]), await reader.readexactly(length)
    finally:
        writer.close()


def post(headers: str = CE, body: bytes = b"", path: str = "/plant/default", method: str = "POST") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


async def in_broker(outbox: Outbox) -> list[dict[str, object]]:
    return [json.loads(raw) for _, _, raw in await outbox.read_broker("plant/default", 0, outbox.newest, limit=100)]


async def test_a_binary_event_is_on_disk_when_it_is_accepted(ingress: BrokerIngress, outbox: Outbox) -> None:
    assert await say(ingress, post(CE + "content-type: application/json\r\n", b'{"a":1}')) == (202, b"")

    (event,) = await in_broker(outbox)
    assert (event["id"], event["source"], event["data"]) == ("1", "/app", {"a": 1})


async def test_structured_and_batch_are_taken(ingress: BrokerIngress, outbox: Outbox) -> None:
    doc = {"specversion": "1.0", "id": "2", "source": "/app", "type": "t"}

    assert (await say(ingress, post("content-type: application/cloudevents+json\r\n", msgspec.json.encode(doc))))[0] == 202
    assert (await say(ingress, post("content-type: application/cloudevents-batch+json\r\n", msgspec.json.encode([doc, doc]))))[0] == 202

    assert len(await in_broker(outbox)) == 3


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (post(path="/plant/other"), 404),
        (post(path="/plant"), 404),
        (post(path="/plant/default/"), 404),
        (post(path="/plant/%64efault"), 404),
        (post(path="/plant/default", method="GET"), 405),
        (post(path="/plant/default", method="OPTIONS"), 200),
        (post(headers=""), 400),
        (post(headers=CE.replace("ce-id: 1", "ce-id: ")), 400),
        (post(headers=CE.replace("/app", "/a%0d%0ab")), 400),
        (post(headers=CE.replace("/app", "/nodes/n/devices/plant/meter")), 400),
        (post(headers="content-type: application/cloudevents+json\r\n", body=b"{"), 400),
        (post(headers="content-type: application/cloudevents+json\r\n", body=b'{"id":"\xb0"}'), 400),
        (post(headers="content-type: application/cloudevents+json\r\n", body=b"[" * 100_000), 400),
        (post(headers=CE + "content-type: text/plain\r\n", body=b"x" * 300_000), 413),
        (post(body=b"x" * (1024 * 1024 + 1)), 413),
        (b"nonsense\r\n\r\n", 400),
        (b"POST /plant/default HTTP/1.1\r\nhost: x\r\nhost: y\r\ncontent-length: 0\r\n\r\n", 400),
        (b"POST /plant/default HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\ncontent-length: 1\r\n\r\n", 400),
        (b"POST /plant/default HTTP/1.1\r\nhost: x\r\n" + b"a: " + b"b" * 20_000 + b"\r\n\r\n", 431),
    ],
    ids=lambda v: repr(v[:40]) if isinstance(v, bytes) else str(v),
)
async def test_what_cannot_be_taken_is_refused_and_nothing_is_stored(
    ingress: BrokerIngress, outbox: Outbox, raw: bytes, status: int
) -> None:
    assert (await say(ingress, raw))[0] == status
    assert outbox.newest == 0


async def test_an_app_cannot_use_up_a_devices_numbers(ingress: BrokerIngress, outbox: Outbox) -> None:
    """An event with the number and the value that a device was about to send made the device's own one a repetition."""
    source, data = "/nodes/n/devices/plant/door", {"open": True}
    claimed = CE + f"ce-partitionkey: {source}\r\nce-sequence: 7\r\ncontent-type: application/json\r\n"
    assert (await say(ingress, post(claimed, msgspec.json.encode(data))))[0] == 202

    await outbox.append(Event(id="7", source=source, type="t", data=data, extensions={"sequence": "7"}), key=source, broker="plant/default")

    assert [e["source"] for e in await in_broker(outbox)] == ["/app", source]


async def test_one_connection_carries_many_events(ingress: BrokerIngress, outbox: Outbox) -> None:
    reader, writer = await asyncio.open_connection(*ingress.address)
    for _ in range(3):
        writer.write(post())
        assert b" 202 " in await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert outbox.newest == 3


async def test_it_listens_to_this_machine_only(outbox: Outbox) -> None:
    with pytest.raises(NotLoopbackError):
        await BrokerIngress(outbox, lambda broker: True).open("0.0.0.0", 0)
