"""The link's protocol without sockets: HTTP/2 with our limits, in events.

What stays true: bytes that come in give events or a PeerError, nothing else; what nobody has read is never more than
the windows in `Limits`; a peer that opens and resets streams without end is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import h2.config
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import msgspec

from skerry.link.http2 import Connection, Settings
from skerry.link.limits import DEFAULT_LIMITS, Limits

Headers = Mapping[str, str]
CANCEL = int(h2.errors.ErrorCodes.CANCEL)
_S = h2.settings.SettingCodes


class PeerError(ConnectionError):
    """The peer broke the protocol or a limit; the connection is of no more use."""


class HeadersReceived(msgspec.Struct):
    """A request (with `:method` and `:path`) or the answer to ours (with `:status`)."""

    stream: int
    headers: dict[str, str]
    ended: bool = False


class DataReceived(msgspec.Struct):
    """Bytes of one stream; call `LinkCore.consumed` once they have been read."""

    stream: int
    data: bytes
    padding: int = 0


class Ended(msgspec.Struct):
    """The peer sends nothing more on this stream."""

    stream: int


class Reset(msgspec.Struct):
    """The peer gave the stream up; nothing more goes either way."""

    stream: int
    code: int


class RoomMade(msgspec.Struct):
    """More may be sent: on one stream, or on all of them with 0."""

    stream: int


class Goodbye(msgspec.Struct):
    """The peer closes the connection and says why."""

    reason: str


Event = HeadersReceived | DataReceived | Ended | Reset | RoomMade | Goodbye


class LinkCore:
    """One end of the link. Owns no socket and no clock: `feed` what came, send what `outgoing` returns."""

    def __init__(self, *, client: bool, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._client = client
        self._h2 = Connection(
            h2.config.H2Configuration(
                client_side=client,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=not client,  # a node trusts its hub's headers; a hub checks everybody's
                normalize_inbound_headers=False,  # joins cookie headers, which nobody sends here
            )
        )
        self._connection_read = 0
        self._stream_read: dict[int, int] = {}
        self._resets_left = limits.max_resets
        self._noise_left = limits.max_noise

    def start(self) -> None:
        """Say hello: settings first, then the window of the whole connection."""
        limits = self.limits
        initial = {
            _S.ENABLE_PUSH: 0,
            _S.INITIAL_WINDOW_SIZE: limits.stream_window,
            _S.MAX_FRAME_SIZE: limits.max_frame,
            _S.MAX_CONCURRENT_STREAMS: limits.max_streams,
            _S.MAX_HEADER_LIST_SIZE: limits.max_headers,
        }
        self._h2.local_settings = Settings(client=self._client, initial_values=initial)
        self._h2.max_inbound_frame_size = limits.max_frame
        self._h2.decoder.max_header_list_size = limits.max_headers
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(limits.connection_window - 65535)

    def outgoing(self) -> bytes:
        """Return what must be sent now."""
        return self._h2.data_to_send()

    def feed(self, data: bytes) -> list[Event]:
        """Take what came from the peer; after a PeerError, send what `outgoing` still holds and close."""
        try:
            found = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise PeerError(f"the peer broke HTTP/2: {str(error) or type(error).__name__}") from error
        except (ValueError, LookupError, struct.error, AssertionError) as error:
            raise PeerError(f"the peer sent what is not HTTP/2: {error}") from error
        self._check_claim()
        events: list[Event] = []
        for event in found:
            self._translate(event, events)
        return events

    def _check_claim(self) -> None:
        """Refuse a frame for the length that it claims: the library would first collect up to 16 MiB of it."""
        waiting = self._h2.incoming_buffer._data
        claimed = int.from_bytes(waiting[:3], "big") if len(waiting) >= 3 else 0
        if claimed > self.limits.max_frame:
            self.close("frame too large", h2.errors.ErrorCodes.FRAME_SIZE_ERROR)
            raise PeerError(f"the peer sends a frame of {claimed} bytes, the limit is {self.limits.max_frame}")

    def _translate(self, event: h2.events.Event, out: list[Event]) -> None:
        match event:
            case h2.events.DataReceived(stream_id=int(stream), data=bytes(data)):
                padding = (event.flow_controlled_length or 0) - len(data)
                if not data and event.stream_ended is None:
                    self._count_noise()
                out.append(DataReceived(stream, data, padding))
            case h2.events.RequestReceived(stream_id=int(stream)) | h2.events.ResponseReceived(stream_id=int(stream)):
                out.append(HeadersReceived(stream, _decoded(event.headers or ()), ended=event.stream_ended is not None))
            case h2.events.StreamEnded(stream_id=int(stream)):
                out.append(Ended(stream))
            case h2.events.StreamReset(stream_id=int(stream)):
                self._count_reset()
                self._stream_read.pop(stream, None)
                out.append(Reset(stream, int(event.error_code or 0)))
            case h2.events.WindowUpdated(stream_id=stream):
                self._count_noise()
                out.append(RoomMade(stream or 0))
            case h2.events.RemoteSettingsChanged():
                self._count_noise()
                out.append(RoomMade(0))
            case h2.events.PingReceived():
                self._count_noise()
            case h2.events.ConnectionTerminated():
                said = (event.additional_data or b"")[:256].decode("utf-8", "replace")
                out.append(Goodbye(said or f"closed with code {event.error_code}"))
            case _:
                pass

    def _count_reset(self) -> None:
        """Count a stream that the peer reset, or made us reset by breaking a rule on it: both cost it nothing."""
        if self._client:
            return
        self._resets_left -= 1
        if self._resets_left < 0:
            self.close("too many streams were opened and reset", h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            raise PeerError(f"the peer reset more than {self.limits.max_resets} streams that it had opened")

    def _earn(self, ended: bool) -> None:
        """A stream that we answered to its end, not one that was only begun, makes up for a reset and for noise."""
        if ended:
            self._resets_left = min(self._resets_left + 1, self.limits.max_resets)
            self._noise_left = min(self._noise_left + 1, self.limits.max_noise)

    def _count_noise(self) -> None:
        self._noise_left -= 1
        if self._noise_left < 0 and not self._client:
            self.close("too many frames that carry nothing", h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            raise PeerError(f"the peer sent more than {self.limits.max_noise} frames that carry nothing")

    def open(self, headers: Iterable[tuple[str, str]], *, ended: bool = False) -> int:
        """Open a stream with these headers (pseudo headers first) and return its number; clients only."""
        try:
            stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream, list(headers), end_stream=ended)
        except h2.exceptions.ProtocolError as error:
            raise ConnectionError(f"the link takes no further stream: {error}") from error
        return stream

    def headers(self, stream: int, headers: Iterable[tuple[str, str]], *, ended: bool = False) -> None:
        """Answer *stream* with these headers (`:status` first)."""
        self._h2.send_headers(stream, list(headers), end_stream=ended)
        self._earn(ended)

    def room(self, stream: int) -> int:
        """Return how many bytes may be sent on *stream* now."""
        try:
            return min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
        except h2.exceptions.ProtocolError as error:
            raise PeerError(f"stream {stream} is closed") from error

    def data(self, stream: int, data: bytes, *, ended: bool = False) -> None:
        """Send at most `room(stream)` bytes."""
        self._h2.send_data(stream, data, end_stream=ended)
        self._noise_left = min(self._noise_left + 2, self.limits.max_noise)  # each frame may be answered by two window updates
        self._earn(ended)

    def reset(self, stream: int, code: int = CANCEL) -> None:
        """Give *stream* up; does nothing when it has ended."""
        self._stream_read.pop(stream, None)
        try:
            self._h2.reset_stream(stream, code)
        except (h2.exceptions.ProtocolError, KeyError):
            return

    def consumed(self, stream: int, count: int, *, open_: bool = True) -> None:
        """Say that *count* bytes of *stream* have been read, so that the peer may send more; told in steps of half a window."""
        self._connection_read += count
        if self._connection_read * 2 >= self.limits.connection_window:
            self._grant(self._connection_read, None)
            self._connection_read = 0
        if not open_:
            self._stream_read.pop(stream, None)
            return
        read = self._stream_read.get(stream, 0) + count
        if read * 2 >= self.limits.stream_window:
            self._grant(read, stream)
            read = 0
        self._stream_read[stream] = read

    def _grant(self, count: int, stream: int | None) -> None:
        try:
            self._h2.increment_flow_control_window(count, stream)
        except (h2.exceptions.ProtocolError, KeyError):
            return  # the stream or the connection ended in the meantime

    def forget(self, stream: int) -> None:
        """Drop what is kept about a stream that has ended both ways."""
        self._stream_read.pop(stream, None)

    def ping(self) -> None:
        """Ask whether the peer is there; whatever it sends next is the answer."""
        try:
            self._h2.ping(b"skerry\0\0")
        except h2.exceptions.ProtocolError:
            return

    def close(self, reason: str, code: int = 0) -> None:
        """Say goodbye; the connection takes nothing more."""
        try:
            self._h2.close_connection(code, additional_data=reason.encode()[:256])
        except h2.exceptions.ProtocolError:
            return


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.decode("latin-1")
        text = value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
