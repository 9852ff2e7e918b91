"""The load client of events: a process of its own that publishes over MQTT 3.1.1, QoS 1, as many devices at once.

`python -m bench.mqtt_load` reads a JSON plan from standard input and prints a JSON result. It shares no code with skerry and parses
only what comes back here: CONNACK and PUBACK. A connection that breaks is made again and what had no answer is sent again.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any, cast

import uvloop


def text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def packet(kind: int, body: bytes) -> bytes:
    size, length = bytearray(), len(body)
    while True:
        size.append((length & 0x7F) | (0x80 if length > 0x7F else 0))
        length >>= 7
        if not length:
            return bytes([kind]) + bytes(size) + body


class Device(asyncio.Protocol):
    """Publishes `{"seq": n, PROPERTY: n % 100}` with a window of unanswered messages; `pace_s` apart at least."""

    def __init__(self, plan: dict[str, Any], name: str, first: int, last: int) -> None:
        self.plan, self.name = plan, name
        self.next, self.acknowledged, self.last = first, first - 1, last
        self.buffer = bytearray()
        self.open = False
        self.finished = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        self.buffer.clear()
        self.open = False
        self.next = self.acknowledged + 1
        credentials = text(self.name.partition("/")[2]) + text(self.name) + text(self.plan["password"])
        self.transport.write(packet(0x10, text("MQTT") + bytes([4, 0xC2]) + (60).to_bytes(2, "big") + credentials))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 4:
            kind, length = self.buffer[0], self.buffer[1]
            if len(self.buffer) < 2 + length:
                return
            if kind == 0x20 and self.buffer[3] != 0:
                self.transport.close()
                return
            if kind == 0x20:
                self.open = True
            elif kind == 0x40:
                self.acknowledged += 1
            del self.buffer[: 2 + length]
        if self.acknowledged >= self.last and not self.finished.done():
            self.finished.set_result(None)
        self.publish()

    def publish(self) -> None:
        if not self.open or self.plan.get("pace_s"):
            return
        out = bytearray()
        while self.next <= self.last and self.next <= self.acknowledged + self.plan["window"]:
            out += self.message(self.next)
            self.next += 1
        if out:
            self.transport.write(bytes(out))

    def message(self, n: int) -> bytes:
        topic = text(f"skerry/{self.name}/telemetry")
        body = b'{"seq":%d,"%b":%d.5}' % (n, self.plan["property"].encode(), n % 100)
        return packet(0x32, topic + (n % 65535 + 1).to_bytes(2, "big") + body)

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        self.lost.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.finished.done():
            self.lost.clear()
            try:
                await loop.create_connection(lambda: self, self.plan["host"], self.plan["port"])
                pacing = asyncio.ensure_future(self.paced())
                await asyncio.wait([self.finished, asyncio.ensure_future(self.lost.wait())], return_when=asyncio.FIRST_COMPLETED)
                pacing.cancel()
            except OSError:
                pass
            await asyncio.sleep(0.05)

    async def paced(self) -> None:
        """Publish one message after the other, `pace_s` apart, whatever the answers do."""
        pace_s = self.plan.get("pace_s")
        while pace_s and self.next <= self.last:
            if self.open and self.next <= self.acknowledged + self.plan["window"]:
                self.transport.write(self.message(self.next))
                self.next += 1
            await asyncio.sleep(pace_s)


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    devices = [Device(plan, name, plan["first"], plan["last"]) for name in plan["devices"]]
    began, before = time.time(), resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.gather(*(d.run() for d in devices))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"began": began, "seconds": time.time() - began, "cpu_s": cpu_s, "acknowledged": sum(d.acknowledged for d in devices)}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))
