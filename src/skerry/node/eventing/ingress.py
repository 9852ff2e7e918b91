"""Where apps on the node send events into its Brokers: HTTP POST of CloudEvents to `/<namespace>/<broker>`.

What must stay true: 202 only after the events are on disk; every answer is one of a few; a request is bounded in size and time before
anything is parsed; a Broker that this node does not run is 404. There is no authentication: it listens on a loopback address only, and
whoever may open a connection there may send.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable

from skerry.events.log import Outbox
from skerry.model.objects import Name

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64


class NotLoopbackError(ValueError):
    """The ingress has no authentication, so it listens on loopback addresses only."""


class BrokerIngress:
    """The listener; *runs_here* says whether a Broker runs on this node."""

    def __init__(self, outbox: Outbox, runs_here: Callable[[Name], bool]) -> None:
        self._outbox = outbox
        self._runs_here = runs_here
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.address: tuple[str, int] = ("", 0)

    async def open(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one, which is then in `address`. Raises NotLoopbackError, OSError."""
        if not ipaddress.ip_address(host).is_loopback:
            raise NotLoopbackError(f"{host} is not a loopback address: events would be taken from anybody")
        self._server = await asyncio.start_server(self._accept, host, port, limit=64 * 1024)
        self.address = self._server.sockets[0].getsockname()[:2]
        log.info("brokers take events", extra={"address": "{}:{}".format(*self.address)})

    async def close(self) -> None:
        """Stop listening and end what is open."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._serving) >= MAX_CONNECTIONS:
            writer.close()
            return
        task = asyncio.create_task(self._look_after(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _look_after(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from skerry.node.eventing.ingress_requests import Requests

        try:
            await Requests(self._outbox, self._runs_here).serve(reader, writer)
        except (OSError, TimeoutError):
            log.debug("a connection to the ingress ended")
        except Exception:
            log.exception("the ingress of Brokers failed")
        finally:
            writer.close()
