"""Watchers: steady, slow, late and restless ones, each taking up again where it had got to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlencode

import msgspec

from tests.consistency.clients import Client, Trial, now, selectors
from tests.consistency.history import Event, Expired, Scope, Session
from tests.consistency.subjects import LineBody, ListBody, path
from tests.consistency.wire import LOST


@dataclass(frozen=True)
class Manner:
    """How a watcher behaves. `start` is revision, unset, zero or initial; `leaves_after` events it goes and comes back."""

    scope: Scope
    start: str = "revision"
    leaves_after: int = 0
    pause_s: float = 0.0
    timeout_s: int = 0
    bookmarks: bool = True
    late: int = 0


class Watcher(Client):
    """Watches from first to last, over as many connections as it takes, each beginning where the one before had got to."""

    def __init__(self, trial: Trial, rng: random.Random, manner: Manner, *, since: int | None = None) -> None:
        super().__init__(trial, rng)
        self.manner = manner
        self._place = since
        self.session: Session | None = None

    async def run(self) -> None:
        while not self.trial.closing.is_set():
            session = await self._begin()
            if session is None:
                continue
            self.session = session
            await self._follow(session)
            self.close()
            if self.manner.start != "revision" and self.rng.random() < 0.6:
                self._place = None

    async def once(self) -> None:
        """Watch on one connection, until the server ends it."""
        session = await self._begin()
        if session is not None:
            await self._follow(session)
        self.close()

    async def _begin(self) -> Session | None:
        if self._place is None and self.manner.start == "revision":
            self._place = await self._listed()
            if self._place is None:
                return None
        await self.connection()
        session = Session(self.manner.scope, self._place, now(), initial=self._place is None and self.manner.start == "initial")
        if session.initial and self.rng.random() < 0.5:
            session.not_older = self.trial.newest
        return session

    async def _listed(self) -> int | None:
        answer = await self.ask("GET", f"{path(self.manner.scope.resource)}?limit=1")
        if answer is None or answer.status != 200:
            return None
        return max(
            self.trial.history.base, int(msgspec.json.decode(answer.body, type=ListBody).metadata.resource_version) - self.manner.late
        )

    def _query(self, session: Session) -> dict[str, str]:
        query = {"watch": "true", **selectors(session.scope)}
        if self.manner.bookmarks or session.initial:
            query["allowWatchBookmarks"] = "true"
        if self.manner.timeout_s:
            query["timeoutSeconds"] = str(self.manner.timeout_s)
        if session.after is not None:
            query["resourceVersion"] = str(session.after)
        elif session.initial:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            if session.not_older:
                query["resourceVersion"] = str(session.not_older)
        elif self.manner.start == "zero":
            query["resourceVersion"] = "0"
        return query

    async def _follow(self, session: Session) -> None:
        connection = await self.connection()
        where = f"{path(session.scope.resource, session.scope.namespace)}?{urlencode(self._query(session), quote_via=quote)}"
        try:
            status, lines = await connection.stream(where)
            if status != 200:
                self.trial.surprise(f"WATCH of {session.scope} was answered {status}")
                await asyncio.sleep(0.1)
                return
            self.trial.history.sessions.append(session)
            session.end = await self._take(session, lines)
        except LOST:
            session.end = "lost"
        session.ended = now()

    async def _take(self, session: Session, lines: AsyncIterator[list[bytes]]) -> str:
        """Record lines until the stream, the patience of this watcher or the trial ends."""
        patience = self.rng.randint(1, 2 * self.manner.leaves_after) if self.manner.leaves_after else 0
        marked = session.after is not None
        async with aclosing(cast("Any", lines)) as batches:
            async for batch in batches:
                for line in batch:
                    event = self._event(session, line)
                    if event is None:
                        return "expired"
                    session.events.append(event)
                    marked = marked or event.type == "BOOKMARK"
                    if marked:
                        self._place = event.revision
                if patience and len(session.events) >= patience and not self.trial.over.is_set():
                    return "left"
                if self.manner.pause_s and not self.trial.over.is_set():
                    await asyncio.sleep(self.rng.uniform(0, 2 * self.manner.pause_s))
        return "timeout"

    def _event(self, session: Session, line: bytes) -> Event | None:
        """Return what a line says; None when it is the end with 410."""
        body = msgspec.json.decode(line, type=LineBody)
        if body.type == "ERROR":
            self._expired(session, msgspec.json.decode(body.object))
            return None
        if body.type == "BOOKMARK":
            meta = msgspec.json.decode(body.object)["metadata"]
            end = (meta.get("annotations") or {}).get("k8s.io/initial-events-end") == "true"
            return Event(body.type, int(meta["resourceVersion"]), None, now(), end)
        version = self.trial.reader.version(session.scope.resource, bytes(body.object))
        self.trial.saw(version.revision)
        return Event(body.type, version.revision, version, now())

    def _expired(self, session: Session, status: dict[str, Any]) -> None:
        asked = self._place or 0
        self._place = None
        if status.get("code") != 410 or status.get("reason") != "Expired":
            self.trial.surprise(f"WATCH of {session.scope} from {asked} ended with {status}")
        else:
            self.trial.history.expired.append(Expired(session.scope, asked, session.began, now()))
