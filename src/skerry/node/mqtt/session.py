"""One client's session at the listener: what may come when, and what must be answered. No sockets, no clock.

What must stay true: nothing but CONNECT is heard first, and only once; a message is acknowledged after it was stored, in the
order in which messages came; what is not stored is never acknowledged; a device publishes to its own topics only; a client
that is silent for one and a half times its keep-alive is gone. Sessions are not kept: `desired` is state, sent on subscribing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum

import msgspec

from skerry.drivers import PeerError
from skerry.drivers.mqtt import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketReader,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Topic,
    Unsuback,
    Unsubscribe,
    Will,
    encode,
    may_subscribe,
    own_topic,
    parse_topic,
)

BEFORE_CONNECT_BYTES = 16 * 1024
PACKET_BYTES = 256 * 1024
CONNECT_WITHIN_S = 10.0
MAX_KEEP_ALIVE_S = 3600.0
"""A client that asks for none, or for longer, is still missed after one and a half hours."""
MAX_FILTERS = 16


class State(Enum):
    """Where a session stands."""

    NEW = "waits for CONNECT"
    JUDGED = "CONNECT is being judged"
    OPEN = "open"
    CLOSED = "closed"


class Knock(msgspec.Struct, frozen=True):
    """A client wants in: answer with `admit` or `refuse`."""

    username: str
    password: bytes


class Message(msgspec.Struct, frozen=True):
    """Something to store; call `stored` with its *token* once it is on the disk."""

    topic: Topic
    payload: bytes
    again: bool
    token: int


class Listening(msgspec.Struct, frozen=True):
    """The device asked for its desired values."""


class Ended(msgspec.Struct, frozen=True):
    """The session is over; *will* is what the device wanted said if it vanished."""

    why: str
    will: tuple[Topic, bytes] | None = None


Event = Knock | Message | Listening | Ended


class _Waiting(msgspec.Struct):
    packet_id: int
    stored: bool


class Session:
    """The rules of one connection. `send` takes the bytes that must go out; times are monotonic seconds."""

    def __init__(self, *, now: float, send: Callable[[bytes], None]) -> None:
        self.state = State.NEW
        self.device = ""
        self._send = send
        self._reader = PacketReader(limit=BEFORE_CONNECT_BYTES)
        self._heard = self._now = now
        self._silence_s = CONNECT_WITHIN_S
        self._listens = -1
        self._will: Will | None = None
        self._waiting: deque[_Waiting] = deque()
        self._first = 0
        self._packet_id = 0

    @property
    def unstored(self) -> int:
        """Messages that wait for the disk."""
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        return self.state is State.CLOSED

    @property
    def listens(self) -> bool:
        """Whether the device subscribed to its desired values."""
        return self._listens >= 0 and self.state is State.OPEN

    def dead_at(self) -> float:
        """Return when the client counts as gone, unless it is heard before."""
        return self._heard + self._silence_s

    def receive(self, data: bytes, now: float) -> Iterator[Event]:
        """Yield what the bytes mean; a PeerError of the client is an Ended."""
        if self.closed:
            return
        self._now = now
        if self.state is not State.NEW:  # a CONNECT that comes byte by byte has no more time than another
            self._heard = now
        try:
            for packet in self._reader.feed(data):
                event = self._on(packet)
                if event is not None:
                    yield event
                if self.closed:
                    return
        except PeerError as error:
            yield self.end(str(error))

    def _on(self, packet: Packet) -> Event | None:
        if self.state is State.NEW:
            return self._on_connect(packet)
        if self.state is State.JUDGED:
            raise PeerError("a packet before the answer to CONNECT")
        match packet:
            case Publish():
                return self._on_publish(packet)
            case Subscribe():
                return self._on_subscribe(packet)
            case Unsubscribe(packet_id, filters):
                if any(may_subscribe(f, self.device) for f in filters):
                    self._listens = -1
                self._send(encode(Unsuback(packet_id)))
            case Pingreq():
                self._send(encode(Pingresp()))
            case Puback():
                pass  # desired values are confirmed by `reported`, not by the transport
            case Disconnect():
                self._will = None
                return self.end("the client said goodbye")
            case _:
                raise PeerError(f"{type(packet).__name__} is not for a client to send now")
        return None

    def _on_connect(self, packet: Packet) -> Event:
        if not isinstance(packet, Connect):
            raise PeerError("the first packet is not CONNECT")
        if packet.level != 4:
            return self.refuse(1, f"protocol level {packet.level}: MQTT 3.1.1 (level 4) is spoken here")
        if not packet.client_id and not packet.clean:
            return self.refuse(2, "no client identifier for a session to be kept")
        if not packet.username or not packet.password:
            return self.refuse(4, "no user name or no password")
        self._will = packet.will
        keep_alive = packet.keep_alive_s * 1.5 or MAX_KEEP_ALIVE_S
        self._silence_s = min(keep_alive, MAX_KEEP_ALIVE_S)
        self._heard = self._now
        self.state = State.JUDGED
        return Knock(packet.username, packet.password)

    def admit(self, device: str) -> None:
        """Let the client in as *device* (`namespace/name`)."""
        if self.state is not State.JUDGED:
            return
        self.device = device
        self.state = State.OPEN
        self._reader.limit = PACKET_BYTES
        self._send(encode(Connack(0)))

    def refuse(self, code: int, why: str) -> Ended:
        """Turn the client away."""
        self._will = None
        if self.state is not State.CLOSED:
            self._send(encode(Connack(code)))
        return self.end(why)

    def _on_publish(self, packet: Publish) -> Event:
        topic = parse_topic(packet.topic, self.device)
        if topic is None:
            raise PeerError(f"{self.device} may not publish to {packet.topic[:128]!r}")
        self._waiting.append(_Waiting(packet.packet_id, False))
        return Message(topic, packet.payload, packet.again, self._first + len(self._waiting) - 1)

    def stored(self, token: int) -> None:
        """The message is on the disk: acknowledge it, once all before it are too."""
        if not 0 <= token - self._first < len(self._waiting):
            return
        self._waiting[token - self._first].stored = True
        out = bytearray()
        while self._waiting and self._waiting[0].stored:
            done = self._waiting.popleft()
            self._first += 1
            if done.packet_id:
                out += encode(Puback(done.packet_id))
        if out and self.state is State.OPEN:
            self._send(bytes(out))

    def _on_subscribe(self, packet: Subscribe) -> Event | None:
        if len(packet.filters) > MAX_FILTERS:
            raise PeerError(f"{len(packet.filters)} filters, the limit is {MAX_FILTERS}")
        codes = tuple(min(qos, 1) if may_subscribe(wanted, self.device) else 0x80 for wanted, qos in packet.filters)
        self._send(encode(Suback(packet.packet_id, codes)))
        granted = [c for c in codes if c != 0x80]
        if not granted:
            return None
        self._listens = max(granted)
        return Listening()

    def desire(self, payload: bytes) -> None:
        """Send the desired values, if the device listens for them."""
        if not self.listens:
            return
        qos = self._listens
        self._packet_id = self._packet_id % 65_535 + 1 if qos else 0
        self._send(encode(Publish(own_topic(self.device, "desired"), payload, qos, self._packet_id)))

    def end(self, why: str) -> Ended:
        """Close the session; the will counts unless the client said goodbye."""
        will = None
        if self._will is not None and self.state is State.OPEN and (topic := parse_topic(self._will.topic, self.device)):
            will = (topic, self._will.payload)
        self.state = State.CLOSED
        return Ended(why, will)
