"""MQTT 3.1.1 control packets as values. Source: OASIS MQTT Version 3.1.1, sections 2 and 3.

What must stay true: any bytes give packets or a PeerError, nothing else; a length is a claim, refused before its bytes are
kept; what `encode` makes, the reader reads back. QoS 2 is not spoken: its packets are a PeerError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from skerry.drivers.contract import PeerError

MAX_STRING = 65_535
_QOS1 = 1


class Will(msgspec.Struct, frozen=True):
    """What is published for a client that vanishes."""

    topic: str
    payload: bytes
    qos: int = 0


class Connect(msgspec.Struct, frozen=True):
    """`level` is 4 for 3.1.1; a password of None is none at all."""

    client_id: str
    username: str | None = None
    password: bytes | None = None
    keep_alive_s: int = 0
    clean: bool = True
    will: Will | None = None
    level: int = 4


class Connack(msgspec.Struct, frozen=True):
    """`code` 0 accepts; 1 protocol version, 2 identifier, 3 unavailable, 4 bad user or password, 5 not authorised."""

    code: int
    session_present: bool = False


class Publish(msgspec.Struct, frozen=True):
    """`packet_id` is 0 with QoS 0; `again` is the DUP flag: it was sent before."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    again: bool = False
    retain: bool = False


class Puback(msgspec.Struct, frozen=True):
    packet_id: int


class Subscribe(msgspec.Struct, frozen=True):
    """Filters with the QoS that is asked for."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


class Suback(msgspec.Struct, frozen=True):
    """The QoS granted for each filter, 0x80 for a refusal."""

    packet_id: int
    codes: tuple[int, ...]


class Unsubscribe(msgspec.Struct, frozen=True):
    packet_id: int
    filters: tuple[str, ...]


class Unsuback(msgspec.Struct, frozen=True):
    packet_id: int


class Pingreq(msgspec.Struct, frozen=True):
    pass


class Pingresp(msgspec.Struct, frozen=True):
    pass


class Disconnect(msgspec.Struct, frozen=True):
    pass


Packet = Connect | Connack | Publish | Puback | Subscribe | Suback | Unsubscribe | Unsuback | Pingreq | Pingresp | Disconnect


class PacketReader:
    """Cuts a byte stream into packets of at most `limit` bytes; the limit may be changed between packets."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Yield the packets that are complete now; PeerError when the bytes are none, and then the stream is lost."""
        self._buffer += data
        start = 0
        try:
            while True:
                head = self._header(start)
                if head is None:
                    return
                begin, size = head
                if len(self._buffer) < begin + size:
                    return
                body = bytes(self._buffer[begin : begin + size])
                first, start = self._buffer[start], begin + size
                yield _decode(first, body)
        finally:
            del self._buffer[:start]

    def _header(self, start: int) -> tuple[int, int] | None:
        """Return where the body begins and how long it claims to be; None when more bytes are needed."""
        size, buffer = 0, self._buffer
        for i in range(4):
            at = start + 1 + i
            if at >= len(buffer):
                return None
            size |= (buffer[at] & 0x7F) << (7 * i)
            if size > self.limit:
                raise PeerError(f"a packet of {size} bytes or more, the limit is {self.limit}")
            if buffer[at] < 0x80:
                return at + 1, size
        raise PeerError("the remaining length has more than four bytes")


class _Body:
    """Reads the fields of one packet's body."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def bytes_left(self) -> int:
        return len(self._data) - self._at

    def byte(self) -> int:
        return self.take(1)[0]

    def word(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise PeerError("a packet ends in the middle of a field")
        found = self._data[self._at : end]
        self._at = end
        return found

    def binary(self) -> bytes:
        return self.take(self.word())

    def text(self) -> str:
        try:
            text = self.binary().decode()
        except UnicodeDecodeError as error:
            raise PeerError("a string is not UTF-8") from error
        if "\0" in text:
            raise PeerError("a string has U+0000")
        return text

    def rest(self) -> bytes:
        return self.take(self.bytes_left())

    def packet_id(self) -> int:
        found = self.word()
        if found == 0:
            raise PeerError("packet identifier 0")
        return found

    def end(self) -> None:
        if self.bytes_left():
            raise PeerError(f"{self.bytes_left()} bytes after the end of a packet")


def _decode(first: int, data: bytes) -> Packet:
    kind, flags = first >> 4, first & 0x0F
    if kind == 3:
        return _publish(flags, data)
    reader = _READERS.get(kind)
    if reader is None:
        raise PeerError(f"packet type {kind} is not spoken here" + (" (QoS 2)" if kind in (5, 6, 7) else ""))
    if flags != (2 if kind in (8, 10) else 0):
        raise PeerError(f"packet type {kind} with flags {flags}")
    body = _Body(data)
    packet = reader(body)
    body.end()
    return packet


def _publish(flags: int, data: bytes) -> Publish:
    qos = flags >> 1 & 3
    if qos > _QOS1:
        raise PeerError(f"a message with QoS {qos}: 0 and 1 are supported")
    if qos == 0 and flags & 8:
        raise PeerError("a message with QoS 0 that says it was sent before")
    body = _Body(data)
    topic = body.text()
    if not topic or "#" in topic or "+" in topic:
        raise PeerError("a message for an empty topic, or one with wildcards")
    packet_id = body.packet_id() if qos else 0
    return Publish(topic, body.rest(), qos, packet_id, bool(flags & 8), bool(flags & 1))


def _connect(body: _Body) -> Connect:
    name, level, flags, keep_alive = body.text(), body.byte(), body.byte(), body.word()
    if (name, level) != ("MQTT", 4):
        if name in ("MQTT", "MQIsdp"):
            body.rest()
            return Connect("", level=level)
        raise PeerError("a CONNECT of another protocol")
    if flags & 1:
        raise PeerError("CONNECT with the reserved flag")
    has_will, will_qos = bool(flags & 4), flags >> 3 & 3
    if (not has_will and flags & 0x38) or will_qos > 2 or (flags & 0x40 and not flags & 0x80):
        raise PeerError(f"CONNECT with contradictory flags {flags:#04x}")
    client_id = body.text()
    will = Will(body.text(), body.binary(), min(will_qos, _QOS1)) if has_will else None
    username = body.text() if flags & 0x80 else None
    password = body.binary() if flags & 0x40 else None
    return Connect(client_id, username, password, keep_alive, bool(flags & 2), will)


def _connack(body: _Body) -> Connack:
    flags, code = body.byte(), body.byte()
    if flags > 1:
        raise PeerError("CONNACK with reserved flags")
    return Connack(code, bool(flags))


def _subscribe(body: _Body) -> Subscribe:
    packet_id, found = body.packet_id(), []
    while body.bytes_left():
        wanted = body.text()
        qos = body.byte()
        if qos > 2 or not wanted:
            raise PeerError("SUBSCRIBE with an empty filter or QoS 3")
        found.append((wanted, qos))
    if not found:
        raise PeerError("SUBSCRIBE without a filter")
    return Subscribe(packet_id, tuple(found))


def _unsubscribe(body: _Body) -> Unsubscribe:
    packet_id, found = body.packet_id(), []
    while body.bytes_left():
        found.append(body.text())
    if not found:
        raise PeerError("UNSUBSCRIBE without a filter")
    return Unsubscribe(packet_id, tuple(found))


_READERS: dict[int, Callable[[_Body], Packet]] = {
    1: _connect,
    2: _connack,
    4: lambda body: Puback(body.packet_id()),
    8: _subscribe,
    9: lambda body: Suback(body.packet_id(), tuple(body.rest())),
    10: _unsubscribe,
    11: lambda body: Unsuback(body.packet_id()),
    12: lambda body: Pingreq(),
    13: lambda body: Pingresp(),
    14: lambda body: Disconnect(),
}


def encode(packet: Packet) -> bytes:
    """Return the packet's bytes."""
    match packet:
        case Publish():
            flags = packet.again << 3 | packet.qos << 1 | packet.retain
            return _packet(0x30 | flags, _text(packet.topic) + (_word(packet.packet_id) if packet.qos else b"") + packet.payload)
        case Puback(packet_id):
            return b"\x40\x02" + _word(packet_id)
        case Connect():
            return _packet(0x10, _encode_connect(packet))
        case Connack(code, present):
            return bytes((0x20, 2, present, code))
        case Subscribe(packet_id, filters):
            return _packet(0x82, _word(packet_id) + b"".join(_text(f) + bytes((q,)) for f, q in filters))
        case Suback(packet_id, codes):
            return _packet(0x90, _word(packet_id) + bytes(codes))
        case Unsubscribe(packet_id, names):
            return _packet(0xA2, _word(packet_id) + b"".join(_text(f) for f in names))
        case Unsuback(packet_id):
            return b"\xb0\x02" + _word(packet_id)
        case Pingreq():
            return b"\xc0\x00"
        case Pingresp():
            return b"\xd0\x00"
        case Disconnect():
            return b"\xe0\x00"


def _encode_connect(packet: Connect) -> bytes:
    flags = packet.clean << 1
    fields = [_text(packet.client_id)]
    if packet.will is not None:
        flags |= 4 | packet.will.qos << 3
        fields += [_text(packet.will.topic), _binary(packet.will.payload)]
    if packet.username is not None:
        flags |= 0x80
        fields.append(_text(packet.username))
    if packet.password is not None:
        flags |= 0x40
        fields.append(_binary(packet.password))
    return _text("MQTT") + bytes((packet.level, flags)) + _word(packet.keep_alive_s) + b"".join(fields)


def _packet(first: int, body: bytes) -> bytes:
    size, head = len(body), bytearray((first,))
    while True:
        head.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return bytes(head) + body


def _word(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _text(value: str) -> bytes:
    return _binary(value.encode())


def _binary(value: bytes) -> bytes:
    if len(value) > MAX_STRING:
        raise ValueError(f"a field of {len(value)} bytes, MQTT allows {MAX_STRING}")
    return _word(len(value)) + value
