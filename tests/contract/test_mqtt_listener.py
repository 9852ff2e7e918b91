"""The node's MQTT listener, with a foreign client (paho) and with bytes that are none of MQTT."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
import trustme
from paho.mqtt.enums import CallbackAPIVersion

from skerry.drivers.mqtt import Connack, Connect, PacketReader, Publish, Topic, encode
from skerry.node.mqtt import ListenError, MqttListener
from skerry.node.mqtt.listener import Done

pytestmark = pytest.mark.slow

DEVICE = "default/sensor-1"
TELEMETRY = f"skerry/{DEVICE}/telemetry"


class Recorder:
    """A handler that stores when it is told to."""

    def __init__(self) -> None:
        self.messages: list[tuple[Topic, bytes, bool]] = []
        self.held: list[Done] = []
        self.hold = False
        self.arrivals = 0
        self.departures: list[str] = []
        self.wish = b'{"generation":1,"values":{"interval":2}}'

    def arrived(self) -> None:
        self.arrivals += 1

    def heard(self) -> None:
        pass

    def message(self, topic: Topic, payload: bytes, *, again: bool, done: Done) -> None:
        self.messages.append((topic, payload, again))
        if self.hold:
            self.held.append(done)
        else:
            asyncio.get_running_loop().call_soon(done, None)

    def desired(self) -> bytes:
        return self.wish

    def left(self, why: str) -> None:
        self.departures.append(why)


@pytest.fixture
async def handler() -> Recorder:
    return Recorder()


@pytest.fixture
async def listener(handler: Recorder) -> AsyncIterator[MqttListener]:
    listener = MqttListener()
    await listener.open("127.0.0.1", 0)
    listener.serve(DEVICE, "secret", handler)
    yield listener
    await listener.close()


class Foreign:
    """paho-mqtt in its own thread."""

    def __init__(
        self, port: int, *, user: str = DEVICE, password: str = "secret", protocol: Any = paho.MQTTv311, keepalive: int = 30
    ) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="foreign", protocol=protocol)
        self.client.username_pw_set(user, password)
        self.connected: list[Any] = []
        self.received: list[tuple[str, bytes, int]] = []
        self.acknowledged: list[int] = []
        self.lost = threading.Event()
        self.client.on_connect = lambda c, u, f, reason, p: self.connected.append(reason)
        self.client.on_message = lambda c, u, m: self.received.append((m.topic, bytes(m.payload), m.qos))
        self.client.on_publish = lambda c, u, mid, r, p: self.acknowledged.append(mid)
        self.client.on_disconnect = lambda c, u, f, r, p: self.lost.set()
        self.port, self.keepalive = port, keepalive

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.client.connect, "127.0.0.1", self.port, self.keepalive)
        self.client.loop_start()
        await until(lambda: self.connected or self.lost.is_set())
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.client.disconnect)
        await asyncio.to_thread(self.client.loop_stop)
        self.client._reset_sockets()  # else paho leaves its own socket pair to the garbage collector


async def until(holds: Callable[[], object], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.005)


async def test_a_foreign_client_connects_publishes_and_hears_its_wishes(listener: MqttListener, handler: Recorder) -> None:
    async with Foreign(listener.port) as foreign:
        foreign.client.subscribe(f"skerry/{DEVICE}/desired", qos=1)
        await until(lambda: foreign.received)
        for i in range(5):
            foreign.client.publish(TELEMETRY, json.dumps({"flow": i}), qos=1)
        foreign.client.publish(TELEMETRY, b"{}", qos=0)
        await until(lambda: len(foreign.acknowledged) == 6)
        handler.wish = b'{"generation":2}'
        listener.desire(DEVICE)
        await until(lambda: len(foreign.received) == 2)

    await until(lambda: handler.departures)
    assert [r for r in foreign.connected if r != 0] == []
    assert [json.loads(p) for _, p, _ in handler.messages] == [{"flow": i} for i in range(5)] + [{}]
    assert foreign.received == [
        (f"skerry/{DEVICE}/desired", b'{"generation":1,"values":{"interval":2}}', 1),
        (f"skerry/{DEVICE}/desired", b'{"generation":2}', 1),
    ]
    assert handler.departures == ["the client said goodbye"]


async def test_no_acknowledgement_before_the_message_is_stored(listener: MqttListener, handler: Recorder) -> None:
    handler.hold = True
    async with Foreign(listener.port) as foreign:
        for i in range(3):
            foreign.client.publish(TELEMETRY, str(i), qos=1)
        await until(lambda: len(handler.held) == 3)
        assert foreign.acknowledged == []

        handler.held[2](None)
        handler.held[0](None)
        await until(lambda: len(foreign.acknowledged) == 1)
        handler.held[1](None)
        await until(lambda: len(foreign.acknowledged) == 3)
        assert foreign.acknowledged == sorted(foreign.acknowledged)


async def test_what_could_not_be_stored_is_sent_again_by_the_client(listener: MqttListener, handler: Recorder) -> None:
    handler.hold = True
    async with Foreign(listener.port) as foreign:
        foreign.client.reconnect_delay_set(min_delay=1)
        foreign.client.publish(TELEMETRY, b"precious", qos=1)
        await until(lambda: handler.held)
        handler.held[0](OSError("disk full"))
        await until(lambda: len(handler.held) == 2)
        handler.held[1](None)
        await until(lambda: foreign.acknowledged)

    assert [(p, again) for _, p, again in handler.messages] == [(b"precious", False), (b"precious", True)]


@pytest.mark.parametrize(
    ("user", "password"), [(DEVICE, "wrong"), (DEVICE, ""), ("default/other", "secret"), ("", "secret"), ("skerry/#", "secret")]
)
async def test_a_stranger_is_refused(listener: MqttListener, handler: Recorder, user: str, password: str) -> None:
    async with Foreign(listener.port, user=user, password=password) as foreign:
        assert foreign.connected
        assert [r for r in foreign.connected if not r.is_failure] == []

    assert handler.arrivals == 0


async def test_an_empty_password_opens_nothing(listener: MqttListener, handler: Recorder) -> None:
    listener.serve("default/open", "", handler)

    async with Foreign(listener.port, user="default/open", password="") as foreign:
        assert [r for r in foreign.connected if not r.is_failure] == []


async def test_a_device_that_writes_to_another_is_cut_off(listener: MqttListener, handler: Recorder) -> None:
    async with Foreign(listener.port) as foreign:
        foreign.client.publish("skerry/default/other/telemetry", b"{}", qos=1)
        await until(foreign.lost.is_set)
        assert foreign.acknowledged == []

    assert handler.messages == []


async def test_the_newest_connection_of_a_device_counts(listener: MqttListener, handler: Recorder) -> None:
    async with Foreign(listener.port) as first, Foreign(listener.port) as second:
        await until(first.lost.is_set)
        second.client.publish(TELEMETRY, b"{}", qos=1)
        await until(lambda: second.acknowledged)
        first.client.loop_stop()
    await until(lambda: handler.departures)
    assert handler.arrivals >= 2


async def test_a_device_that_is_dismissed_is_cut_off(listener: MqttListener, handler: Recorder) -> None:
    async with Foreign(listener.port) as foreign:
        listener.dismiss(DEVICE)
        await until(foreign.lost.is_set)


async def test_plain_mqtt_is_not_spoken_to_the_network() -> None:
    with pytest.raises(ListenError, match=r"only for loopback addresses, not 0\.0\.0\.0"):
        await MqttListener().open("0.0.0.0", 0)
    with pytest.raises(ListenError, match=r"cannot use certificate /nowhere\.pem"):
        await MqttListener().open("0.0.0.0", 0, certificate="/nowhere.pem")


async def test_with_a_certificate_the_network_is_served_over_tls(handler: Recorder, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    listener = MqttListener()
    await listener.open("0.0.0.0", 0, certificate=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))
    listener.serve(DEVICE, "secret", handler)

    foreign = Foreign(listener.port)
    foreign.client.tls_set(ca_certs=str(tmp_path / "ca.pem"))
    async with foreign:
        foreign.client.publish(TELEMETRY, b"{}", qos=1)
        await until(lambda: foreign.acknowledged)
    old = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    old.set_ciphers("AES256-GCM-SHA384")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", listener.port, ssl=old)
    await listener.close()


async def pour(writer: asyncio.StreamWriter, data: bytes) -> None:
    while True:
        writer.write(data)
        await writer.drain()


async def test_a_client_that_floods_is_read_no_further_than_the_bound(listener: MqttListener, handler: Recorder) -> None:
    handler.hold = True
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(encode(Connect("c", DEVICE, b"secret")))
    assert list(PacketReader(limit=100).feed(await reader.read(100))) == [Connack(0)]
    flood = b"".join(encode(Publish(TELEMETRY, b"x" * 1000, 1, i % 65_535 + 1)) for i in range(1000))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pour(writer, flood), 0.7)

    assert listener.unstored_bytes < 6 << 20
    assert len(handler.held) < 6000
    count = len(handler.held)
    handler.hold = False
    for done in handler.held[:]:
        done(None)
    await until(lambda: len(handler.messages) > count)
    writer.close()


async def test_noise_ends_the_connection_and_nothing_else(listener: MqttListener, handler: Recorder) -> None:
    dice = random.Random(7)
    began = time.monotonic()
    for round_ in range(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        hello = encode(Connect("c", DEVICE, b"secret")) if round_ % 2 else b""
        writer.write(hello + dice.randbytes(dice.randrange(1, 400)) + b"\xf0\x00" * 3)
        writer.write_eof()
        async with asyncio.timeout(60):
            while await reader.read(4096):
                pass
        writer.close()

    assert time.monotonic() - began < 60
    async with Foreign(listener.port) as foreign:
        assert foreign.connected[0] == 0


async def test_connections_that_say_nothing_keep_no_device_out(
    listener: MqttListener, handler: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """256 of them kept every device out for as long as somebody opened new ones (T17)."""
    monkeypatch.setattr("skerry.node.mqtt.listener.MAX_STRANGERS", 4)
    silent = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(9)]
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)

    writer.write(encode(Connect("c", DEVICE, b"secret")))
    async with asyncio.timeout(60):
        assert await reader.readexactly(4) == encode(Connack(0))
        assert [await r.read() for r, _ in silent[:5]] == [b""] * 5

    for _, w in (*silent, (reader, writer)):
        w.transport.abort()
    await asyncio.sleep(0.01)
