"""The nodes that are connected now, and the way to ask one of them for a stream (`NodeStreams` of the API server)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from skerry.hub.frontdoor.roster import Roster
from skerry.hub.frontdoor.session import NodeSession, away
from skerry.link import LinkStream
from skerry.link.control import DENIED, NOT_ENROLLED

log = logging.getLogger(__name__)


class Sessions:
    """At most one link a node listens on: a newer one takes the older one's place."""

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self._all: set[NodeSession] = set()
        self._listening: dict[str, NodeSession] = {}

    @property
    def connected(self) -> list[str]:
        """The nodes that can be asked for streams, sorted."""
        return sorted(self._listening)

    async def open(self, node: str, kind: str, params: Mapping[str, Any]) -> LinkStream:
        """Ask *node* for a stream; raises ApiError, 503 when the node is not connected."""
        session = self._listening.get(node)
        if session is None:
            raise away(f"node {node} is not connected to the hub")
        return await session.open(kind, params)

    def add(self, session: NodeSession) -> None:
        self._all.add(session)

    def listen(self, session: NodeSession) -> None:
        """The node of *session* can be asked for streams now."""
        older = self._listening.get(session.node)
        self._listening[session.node] = session
        if older is not None and older is not session and older.link is not None:
            older.link.close("the node has connected anew")
        log.info("node connected", extra={"node": session.node})

    def remove(self, session: NodeSession, reason: str) -> None:
        self._all.discard(session)
        if self._listening.get(session.node) is session:
            del self._listening[session.node]
            log.info("node disconnected", extra={"node": session.node, "reason": reason})

    def enforce(self) -> None:
        """Close every link whose key may no longer connect as its node."""
        for session in list(self._all):
            if self.roster.node_of(session.key_hash) != session.node and session.link is not None:
                session.link.close(DENIED if self.roster.denied(session.key_hash) else NOT_ENROLLED)

    def close(self) -> None:
        """Say goodbye to every node."""
        for session in list(self._all):
            if session.link is not None:
                session.link.close("the hub stops")
