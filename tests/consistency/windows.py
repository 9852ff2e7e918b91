"""Real time and revisions: what a request that began then must have seen, and what one that ended then cannot have."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import chain

from tests.consistency.history import NEVER, History
from tests.consistency.log import Log


class Windows:
    """`low(t)` is the newest revision that anybody was told of before t; `high(t)` the newest that may exist at t.

    *also* has moments at which somebody knew of a revision without being told its number: the end of a DELETE.
    """

    def __init__(self, log: Log, history: History, also: Iterable[tuple[float, int]] = ()) -> None:
        earliest: dict[int, float] = {}
        for at, revision in chain(_told(history), also):
            if at < earliest.get(revision, NEVER):
                earliest[revision] = at
        self._earliest = earliest
        ordered = sorted((at, revision) for revision, at in earliest.items())
        self._times = [at for at, _ in ordered]
        self._lows: list[int] = []
        newest = log.base
        for _, revision in ordered:
            newest = max(newest, revision)
            self._lows.append(newest)
        self._base, self._end = log.base, max([log.end, *self._lows[-1:]])
        begun = sorted((e.began, e.revision) for e in log.events)
        self._begun = [began for began, _ in begun]
        self._highs: list[int] = []
        lowest = self._end + 1
        for _, revision in reversed(begun):
            lowest = min(lowest, revision)
            self._highs.append(lowest - 1)
        self._highs.reverse()

    def low(self, at: float) -> int:
        i = bisect_left(self._times, at)
        return self._lows[i - 1] if i else self._base

    def high(self, at: float) -> int:
        i = bisect_right(self._begun, at)
        return self._highs[i] if i < len(self._highs) else self._end

    def earliest(self, revision: int) -> float:
        """Return when somebody was first told of *revision*."""
        return self._earliest.get(revision, NEVER)


def _told(history: History) -> Iterable[tuple[float, int]]:
    for write in history.writes:
        if write.version is not None:
            yield write.ended, write.version.revision
    for read in history.reads:
        if read.version is not None:
            yield read.ended, read.version.revision
    for listing in history.listings:
        for page in listing.pages:
            yield page.ended, page.revision
    for session in history.sessions:
        for event in session.events:
            yield event.at, event.revision
