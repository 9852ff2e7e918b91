"""A process that is only a node's outbox: `python -m tests.e2e.pieces.event_node OUTBOX HUB_SOCKET SOCKET`.

Devices connect to SOCKET and send lines `{"device": ..., "n": ...}`; each is answered with its number once it is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from skerry.events.cloudevents import Event
from skerry.events.log import Outbox
from skerry.link import LinkConnection, LinkStream
from skerry.node.eventing import Uploader


class Response:
    def __init__(self, stream: LinkStream) -> None:
        self._stream = stream
        self.status = stream.status
        self.headers: Mapping[str, str] = stream.headers

    async def read(self, *, limit_bytes: int) -> bytes:
        return await self._stream.read(limit_bytes=limit_bytes)

    async def chunks(self) -> AsyncIterator[bytes]:
        while (data := await self._stream.receive()) is not None:
            yield data

    async def close(self) -> None:
        self._stream.reset()


class Hub:
    """The link, dialled again whenever it breaks."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._link: LinkConnection | None = None

    async def wait_connected(self) -> None:
        while self._link is None or self._link.closed:
            try:
                loop = asyncio.get_running_loop()
                _, self._link = await loop.create_unix_connection(lambda: LinkConnection(client=True), str(self._socket))
            except OSError:
                await asyncio.sleep(0.05 + random.random() / 10)

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
        if self._link is None or self._link.closed:
            raise ConnectionError("no link")
        stream = self._link.open_stream(method, path, headers=headers, ended=not body)
        try:
            if body:
                await stream.send(body, ended=True)
            await stream.response()
        except BaseException:
            stream.reset()
            raise
        return Response(stream)


async def serve_device(outbox: Outbox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    def answered(number: int, error: Exception | None) -> None:
        if error is None and not writer.is_closing():
            writer.write(b"%d\n" % number)

    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            said = json.loads(line)
            device, n = said["device"], said["n"]
            event = Event(
                id=f"{device}-{n}",
                source=f"/nodes/node-1/devices/plant/{device}",
                type="dev.skerry.device.sample",
                data={"n": n, "pad": "x" * (n % 200)},
                extensions={"devicenamespace": "plant", "devicename": device, "sequence": str(n)},
            )
            outbox.offer(event, key=f"plant/{device}", done=lambda error, n=n: answered(n, error))  # type: ignore[misc]
    writer.close()


async def main(path: Path, hub: Path, socket: Path) -> None:
    outbox = await Outbox.open(path)
    socket.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(lambda r, w: serve_device(outbox, r, w), str(socket))
    async with server, asyncio.TaskGroup() as group:
        group.create_task(Uploader(outbox, Hub(hub)).run())
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
