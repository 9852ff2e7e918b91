"""What the clients of a trial share: the server, the history, one connection each, and what there is to ask for."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

from tests.consistency.history import History, Key, Scope, Version
from tests.consistency.stage import Stage
from tests.consistency.subjects import (
    CONFIGMAPS,
    GAUGES,
    Reader,
)
from tests.consistency.wire import LOST, Answer, Connection

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
ANSWERS = frozenset((200, 201, 404, 409, 429))
"""What a trial's requests may be answered with; 422 too where an object is being deleted."""
now = time.monotonic


@dataclass
class Trial:
    """What all clients share: the server, the history, and how much there still is to do."""

    stage: Stage
    history: History
    keys: list[Key]
    left: int
    reader: Reader = field(default_factory=Reader)
    seen: dict[Key, Version | None] = field(default_factory=dict)
    newest: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    marks: dict[tuple[str, str], int] = field(default_factory=dict)

    def take(self) -> bool:
        """Count one operation; False when there are no more."""
        self.left -= 1
        if self.left <= 0:
            self.over.set()
        return not self.over.is_set()

    def saw(self, revision: int) -> None:
        self.newest = max(self.newest, revision)

    def surprise(self, text: str) -> None:
        if len(self.history.surprises) < 20:
            self.history.surprises.append(text)


class Client:
    """One connection that is opened again when it is lost, once the server answers again."""

    def __init__(self, trial: Trial, rng: random.Random) -> None:
        self.trial, self.rng = trial, rng
        self._connection: Connection | None = None

    async def connection(self) -> Connection:
        while self._connection is None:
            await self.trial.stage.up.wait()
            try:
                self._connection = await Connection.open(self.trial.stage.address)
            except LOST:
                await asyncio.sleep(0.02)
        return self._connection

    async def ask(self, method: str, where: str, body: Any = None, media: str = "application/json") -> Answer | None:
        """Return the answer, or None when none came: what was asked may have happened or not."""
        connection = await self.connection()
        try:
            return await connection.request(method, where, body, media)
        except LOST:
            self.close()
            return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def selectors(scope: Scope) -> dict[str, str]:
    found = {}
    if scope.labels:
        found["labelSelector"] = ",".join(f"{k}={v}" for k, v in scope.labels)
    if scope.fields:
        found["fieldSelector"] = ",".join(f"{k}={v}" for k, v in scope.fields)
    return found


def all_scopes() -> list[Scope]:
    red, blue = (("color", "red"),), (("color", "blue"),)
    scopes = [Scope(r, n) for r in (CONFIGMAPS, GAUGES) for n in ("", "trial-a", "trial-b")]
    scopes += [Scope(CONFIGMAPS, "", red), Scope(CONFIGMAPS, "trial-a", blue), Scope(GAUGES, "", blue), Scope(GAUGES, "trial-b", red)]
    scopes += [Scope(CONFIGMAPS, "trial-a", fields=(("metadata.name", "free-1"),)), Scope(GAUGES, "", fields=(("spec.mode", "on"),))]
    return [*scopes, Scope(GAUGES, "trial-a", red, (("spec.mode", "off"),))]
