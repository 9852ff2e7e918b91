"""An API server in a process of its own, with a small history, and perhaps with a fault seeded into it.

`python -m tests.consistency.server FOLDER PORT HISTORY [FAULT]` says `ready PORT` once it answers. FOLDER holds `ca.pem`, `server.pem` and
the server's data. What is patched here is patched nowhere else: the product knows no faults.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import sys
from pathlib import Path

import uvloop

from skerry.apiserver.registry import watch
from skerry.apiserver.server import ApiServer
from skerry.apiserver.store import Store, store
from tests.consistency.faults import FAULTS

BOOKMARK_S = 0.03


def often(history: int) -> None:
    """Make rare things happen often: bookmarks, compaction, histories that end."""
    watch.BOOKMARK_S = BOOKMARK_S
    store.GARBAGE_ROWS = 32
    Store.open = functools.partial(Store.open, history=history)  # type: ignore[method-assign]


async def serve(folder: Path, port: int) -> None:
    server = await ApiServer.open(folder / "hub.sqlite")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = await asyncio.get_running_loop().create_server(server.http.protocol_factory, "127.0.0.1", port, ssl=context)
    print("ready", listener.sockets[0].getsockname()[1], flush=True)
    await server.store.wait_failed()


if __name__ == "__main__":
    often(int(sys.argv[3]))
    for name in sys.argv[4:]:
        FAULTS[name]()
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
