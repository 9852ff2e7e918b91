"""skerry for boards: telemetry, desired values and events over MQTT 3.1.1, in a few kilobytes.

What is sent was stored by the node when `send` counts it as done (QoS 1, answered after the node's fsync). While the node
cannot be reached, messages wait in a small buffer; when it is full the oldest is dropped and counted in `dropped`.
"""

import gc
import json
import os
import select
import socket
import time


class Gone(Exception):
    """The connection is no more."""


def _text(s):
    b = s.encode() if isinstance(s, str) else s
    return len(b).to_bytes(2, "big") + b


class Device:
    """One device. `name` is "namespace/device", the password is in the Secret that the Device names."""

    def __init__(self, host, port, name, password, keepalive=30, buffer=16, tls=None):
        self.address = (host, port)
        self.name = name
        self.generation = -1
        self.dropped = 0
        self.sent = 0
        self._password = password
        self._keepalive = keepalive
        self._limit = buffer
        self._tls = tls
        self._sock = None
        self._in = b""
        self._queue = []  # [topic, payload, packet id, sent before]
        self._wishes = {}
        self._held = {}
        # A number that goes on from a random place: after a reboot the same numbers must not come again.
        self._seq = int.from_bytes(os.urandom(3), "big") << 4
        self._id = 0
        self._flying = None  # (packet id, since)
        self._retry_at = time.ticks_ms()
        self._failures = 0
        self._spoke = time.ticks_ms()

    # ---- what a program uses

    def setting(self, name, value, on_desired=None):
        """Tell of a property that may be set. `on_desired(value)` takes a desired one and may raise ValueError(reason) to refuse it."""
        self._held[name] = value
        if on_desired:
            self._wishes[name] = on_desired

    def send(self, values):
        """Send telemetry: a dict of property to value."""
        self._seq += 1
        values["seq"] = self._seq
        self._put("telemetry", values)
        del values["seq"]

    def event(self, name, data):
        """Send an event."""
        self._put("events/" + name, data)

    def run(self, seconds):
        """Keep the connection and do what is to be done, for so long. Never raises for a lost network."""
        end = time.ticks_add(time.ticks_ms(), int(seconds * 1000))
        while True:
            left = time.ticks_diff(end, time.ticks_ms())
            try:
                if self._sock is None:
                    self._connect()
                self._pump(max(0, min(left, 1000)))
            except (OSError, Gone):
                self._drop()
            if time.ticks_diff(end, time.ticks_ms()) <= 0:
                return
            if self._sock is None:
                wait = time.ticks_diff(self._retry_at, time.ticks_ms())
                time.sleep_ms(max(0, min(wait, time.ticks_diff(end, time.ticks_ms()), 250)))

    @property
    def connected(self):
        return self._sock is not None

    def waiting(self):
        """How many messages the node has not confirmed."""
        return len(self._queue)

    def close(self):
        """Say goodbye."""
        if self._sock:
            try:
                self._sock.write(b"\xe0\x00")
            except OSError:
                pass
        self._drop()

    # ---- the connection

    def _connect(self):
        if time.ticks_diff(self._retry_at, time.ticks_ms()) > 0:
            return
        # Ready for the case that it fails: 1 s, 2 s, ... 32 s, and up to as much again at random.
        wait = 1000 << min(self._failures, 5)
        self._failures += 1
        self._retry_at = time.ticks_add(time.ticks_ms(), wait + int.from_bytes(os.urandom(2), "big") * wait // 65536)
        gc.collect()
        sock = socket.socket()
        try:
            sock.settimeout(10)
            sock.connect(socket.getaddrinfo(*self.address)[0][-1])
            if self._tls:
                sock = self._tls(sock)
            body = b"\x00\x04MQTT\x04\xc2" + self._keepalive.to_bytes(2, "big") + _text(self.name) + _text(self.name) + _text(self._password)
            sock.write(b"\x10" + _length(len(body)) + body)
            answer = sock.read(4)
            if answer is None or answer[:2] != b"\x20\x02" or answer[3] != 0:
                raise Gone("refused")
        except (OSError, Gone):
            sock.close()
            raise
        self._sock, self._in, self._flying = sock, b"", None
        self._spoke = time.ticks_ms()
        self._write(b"\x82", b"\x00\x01" + _text("skerry/" + self.name + "/desired") + b"\x01")
        for message in self._queue:
            message[3] = message[2] > 0  # sent before, not answered

    def _drop(self):
        if self._sock:
            self._sock.close()
        self._sock = None
        self._in = b""
        self._flying = None

    def _write(self, first, body):
        self._sock.write(first + _length(len(body)) + body)
        self._spoke = time.ticks_ms()

    def _put(self, topic, doc):
        if len(self._queue) >= self._limit:
            # The first may be under way already; the one after it is the oldest that is not.
            self._queue.pop(1 if self._flying and len(self._queue) > 1 else 0)
            self.dropped += 1
        self._queue.append([topic, json.dumps(doc).encode(), 0, False])

    def _pump(self, wait_ms):
        if self._sock is None:
            return
        now = time.ticks_ms()
        if self._queue and not self._flying:
            self._publish(self._queue[0])
        elif self._flying and time.ticks_diff(now, self._flying[1]) > 10000:
            raise Gone("no answer")
        elif time.ticks_diff(now, self._spoke) > self._keepalive * 500:
            self._write(b"\xc0", b"")
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        if poll.poll(wait_ms):
            self._read()

    def _publish(self, message):
        if not message[2]:
            self._id = self._id % 65535 + 1
            message[2] = self._id
        self._flying = (message[2], time.ticks_ms())
        body = _text("skerry/" + self.name + "/" + message[0]) + message[2].to_bytes(2, "big") + message[1]
        self._write(b"\x3a" if message[3] else b"\x32", body)

    def _read(self):
        data = self._sock.recv(256)
        if not data:
            raise Gone("closed")
        self._in += data
        while True:
            packet = self._packet()
            if packet is None:
                return
            self._on(*packet)

    def _packet(self):
        """Cut one packet off what was received."""
        size = shift = 0
        for i in range(1, min(len(self._in), 4)):
            size |= (self._in[i] & 0x7F) << shift
            shift += 7
            if self._in[i] < 128:
                break
        else:
            return None
        if size > 4096:
            raise Gone("too long")
        end = 1 + i + size
        if len(self._in) < end:
            return None
        packet = self._in[0], self._in[1 + i : end]
        self._in = self._in[end:]
        return packet

    def _on(self, first, body):
        kind = first & 0xF0
        if kind == 0x40 and self._flying and int.from_bytes(body[:2], "big") == self._flying[0]:
            self._queue.pop(0)
            self._flying = None
            self._failures = 0
            self.sent += 1
        elif kind == 0x30:
            at = 2 + int.from_bytes(body[:2], "big")
            if first & 6:
                self._write(b"\x40", body[at : at + 2])
                at += 2
            self._desired(body[at:])

    def _desired(self, payload):
        """Take what is desired, and report what became of it."""
        try:
            doc = json.loads(payload)
            generation, wishes = doc["generation"], doc["values"]
        except (ValueError, KeyError, TypeError):
            return
        acks = {}
        for name, value in wishes.items():
            try:
                if name not in self._wishes:
                    raise ValueError("not known to the device")
                self._wishes[name](value)
                self._held[name] = value
                acks[name] = {"code": "Accepted"}
            except ValueError as error:
                acks[name] = {"code": "Rejected", "detail": str(error)}
        self.generation = generation
        self._put("reported", {"generation": generation, "values": self._held, "acks": acks})


def _length(size):
    out = bytearray()
    while True:
        out.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return bytes(out)
