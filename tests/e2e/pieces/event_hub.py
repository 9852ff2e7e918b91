"""A process that is only the hub's event log behind a link: `python -m tests.e2e.pieces.event_hub LOG SOCKET`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from skerry.events.log import MAX_BATCH_BYTES, HubLog
from skerry.events.routes import EventRoutes
from skerry.link import LinkClosedError, LinkConnection, LinkStream
from skerry.model.errors import ApiError


async def serve(routes: EventRoutes, stream: LinkStream) -> None:
    try:
        if stream.method == "POST":
            body = await stream.read(limit_bytes=MAX_BATCH_BYTES)
            answer = await routes.upload("node-1", stream.headers["skerry-stream"], body)
        else:
            answer = await routes.mark("node-1", stream.headers["skerry-stream"])
        assert isinstance(answer.body, bytes)
        stream.respond(answer.status, answer.headers)
        await stream.send(answer.body, ended=True)
    except ApiError as error:
        stream.respond(error.code)
        await stream.send(error.message.encode(), ended=True)
    except LinkClosedError:
        pass


async def main(log: Path, socket: Path) -> None:
    routes = EventRoutes(await HubLog.open(log))
    tasks: set[asyncio.Task[None]] = set()

    def on_stream(stream: LinkStream) -> None:
        task = asyncio.create_task(serve(routes, stream))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    socket.unlink(missing_ok=True)
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: LinkConnection(client=False, on_stream=on_stream), str(socket))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
