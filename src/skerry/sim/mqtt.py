"""A DeviceProfile as an MQTT device: it connects to its node, tells its values, and takes what is desired of it.

What must stay true: messages are numbered (`seq`) and kept until the node acknowledged them, and are sent again after a
reconnect, so that what a consumer has can be compared with what was sent; at most `WINDOW` are under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from skerry.drivers import PeerError
from skerry.drivers.mqtt import Connack, Connect, Packet, PacketReader, Pingreq, Puback, Publish, Subscribe, encode, own_topic
from skerry.model.profiles import Scalar
from skerry.sim.device import SimulatedDevice

WINDOW = 512
KEEP_ALIVE_S = 30
RETRY_S = 0.5


class RefusedError(Exception):
    """The node does not let the device in: not yet, or not with this password."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the node listens, and who the device is."""

    host: str
    port: int
    name: str
    password: str = field(repr=False)


class MqttDevice:
    """One device; `count` 0 goes on for ever. `acknowledged` is how many telemetry messages the node has stored."""

    def __init__(
        self,
        device: SimulatedDevice,
        connection: Connection,
        *,
        every_s: float,
        count: int = 0,
        told: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._connection = connection
        self._every_s = every_s
        self._count = count
        self._told = told
        self._said = ""
        self._clock = clock
        self._started = clock()
        self._seq = 0
        self._first = secrets.randbits(40) if not count else 1
        self._unacknowledged: OrderedDict[int, Publish] = OrderedDict()
        self._packet_id = 0
        self._writer: asyncio.StreamWriter | None = None
        self._room = asyncio.Event()
        self.acknowledged = 0

    async def run(self) -> None:
        """Speak until everything that was asked for is acknowledged; reconnects for ever, as devices do."""
        while not self._done():
            try:
                await self._converse()
            except RefusedError as error:
                self._say(str(error))
                await asyncio.sleep(RETRY_S)
            except (OSError, PeerError):
                await asyncio.sleep(RETRY_S)

    def _say(self, text: str) -> None:
        if text != self._said:
            self._told(text)
        self._said = text

    def _done(self) -> bool:
        return bool(self._count) and self.acknowledged >= self._count

    async def _converse(self) -> None:
        c = self._connection
        reader, self._writer = await asyncio.open_connection(c.host, c.port)
        packets = PacketReader(limit=1 << 20)
        tasks: list[asyncio.Task[Any]] = []
        try:
            self._send(Connect(c.name.replace("/", "-"), c.name, c.password.encode(), KEEP_ALIVE_S))
            while data := await reader.read(65536):
                for packet in packets.feed(data):
                    self._on(packet, tasks)
                if self._done() or any(t.done() for t in tasks):
                    return
            raise OSError("the node hung up")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def _on(self, packet: Packet, tasks: list[asyncio.Task[Any]]) -> None:
        match packet:
            case Connack(0):
                self._send(Subscribe(1, ((own_topic(self._connection.name, "desired"), 1),)))
                for publish in self._unacknowledged.values():
                    self._send(Publish(publish.topic, publish.payload, 1, publish.packet_id, again=True))
                tasks += [asyncio.create_task(self._tell()), asyncio.create_task(self._ping())]
            case Connack(code):
                raise RefusedError(
                    f"the node refused {self._connection.name} (code {code}): is it a Device of this node, with this password?"
                )
            case Puback(packet_id):
                self._acknowledged(packet_id)
            case Publish():
                if packet.qos:
                    self._send(Puback(packet.packet_id))
                self._desired(packet.payload)

    def _send(self, packet: Packet) -> None:
        assert self._writer is not None
        self._writer.write(encode(packet))

    def _acknowledged(self, packet_id: int) -> None:
        publish = self._unacknowledged.pop(packet_id, None)
        if publish is not None and publish.topic.endswith("/telemetry"):
            self.acknowledged += 1
        self._room.set()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_S / 2)
            self._send(Pingreq())

    async def _tell(self) -> None:
        """Send telemetry at its rate; the rate is kept on average, however late a single message is."""
        due = self._clock()
        while not self._count or self._seq < self._count:
            await self._wait(due)
            due = max(due + self._every_s, self._clock() - 1.0)
            match self._device.fault.name:
                case "silent":
                    continue
                case "garble":
                    self._publish("telemetry", b"\xff\x00 no JSON at all")
                    continue
                case "slow":
                    await asyncio.sleep(self._device.fault.delay_s)
            self._seq += 1
            self._publish("telemetry", msgspec.json.encode(self._telemetry()))

    async def _wait(self, due: float) -> None:
        while len(self._unacknowledged) >= WINDOW:
            self._room.clear()
            await self._room.wait()
        await asyncio.sleep(max(0.0, due - self._clock()))
        assert self._writer is not None
        await self._writer.drain()

    def _telemetry(self) -> dict[str, Scalar]:
        elapsed = self._clock() - self._started
        profile = self._device.profile
        values = {self._key(n): self._device.value(n, elapsed) for n, p in profile.properties.items() if not p.writable}
        return {**values, "seq": self._first + self._seq - 1}

    def _key(self, name: str) -> str:
        return str((self._device.profile.properties[name].binding.get("mqtt") or {}).get("name") or name)

    def _publish(self, rest: str, payload: bytes) -> None:
        self._packet_id = self._packet_id % 65_535 + 1
        publish = Publish(own_topic(self._connection.name, rest), payload, 1, self._packet_id)
        self._unacknowledged[self._packet_id] = publish
        self._send(publish)

    def _desired(self, payload: bytes) -> None:
        """Take what is desired and report it, as the real ones do."""
        doc = msgspec.json.decode(payload)
        names = {self._key(n): n for n in self._device.profile.properties}
        acks: dict[str, Any] = {}
        for key, value in doc["values"].items():
            why = self._device.write(names.get(key, key), value)
            acks[key] = {"code": "Rejected", "detail": why} if why else {"code": "Accepted"}
        elapsed = self._clock() - self._started
        held = {k: self._device.value(n, elapsed) for k, n in names.items() if self._device.profile.properties[n].writable}
        self._publish("reported", msgspec.json.encode({"generation": doc["generation"], "values": held, "acks": acks}))
