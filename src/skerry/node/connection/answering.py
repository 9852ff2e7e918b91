"""A stream that the hub asked for: the node opens it, says yes or no, and serves it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from skerry.link import LinkClosedError, LinkConnection, LinkStream
from skerry.link.control import STATUS_HEADER, STREAMS_PATH
from skerry.model.errors import ApiError


class AnsweringStream:
    """What a handler gets. `accept` says yes (so does the first `send` or `receive`); an ApiError raised before says no."""

    def __init__(self, link: LinkConnection, stream_id: str) -> None:
        self._link = link
        self._id = stream_id
        self._stream: LinkStream | None = None

    @property
    def accepted(self) -> bool:
        return self._stream is not None

    async def accept(self) -> None:
        """Tell the hub that we serve this stream; raises LinkClosedError when nobody waits for it any more."""
        if self._stream is None:
            await self._open("200")

    async def send(self, data: bytes) -> None:
        """Send all of *data*; waits while the peer does not read."""
        await self.accept()
        assert self._stream is not None
        await self._stream.send(data)

    async def receive(self) -> bytes | None:
        """Return the next bytes from the hub, None once it sends nothing more."""
        await self.accept()
        assert self._stream is not None
        return await self._stream.receive()

    async def finish(self) -> None:
        """Say that we send nothing more."""
        await self.accept()
        assert self._stream is not None
        await self._stream.finish()

    def on_abort(self, called: Callable[[], object]) -> None:
        """Have *called* when the hub gives the stream up or the link breaks; only once it is accepted."""
        assert self._stream is not None
        self._stream.on_abort = called

    def reset(self) -> None:
        """Give the stream up."""
        if self._stream is not None:
            self._stream.reset()

    async def refuse(self, error: ApiError) -> None:
        """Say no, and why; only before `accept`."""
        stream = self._link.open_stream(
            "POST", STREAMS_PATH + self._id, headers={STATUS_HEADER: str(error.code), "content-type": "application/json"}, ended=False
        )
        await stream.send(msgspec.json.encode(error.to_status()), ended=True)
        await stream.response()
        stream.reset()

    async def end(self) -> None:
        """Finish our way and wait until the hub has finished its own, so that nothing is cut off."""
        await self.finish()
        assert self._stream is not None
        while await self._stream.receive() is not None:
            pass

    async def _open(self, status: str) -> None:
        stream = self._link.open_stream("POST", STREAMS_PATH + self._id, headers={STATUS_HEADER: status}, ended=False)
        if await stream.response() != 200:
            stream.reset()
            raise LinkClosedError("nobody waits for this stream any more")
        self._stream = stream
