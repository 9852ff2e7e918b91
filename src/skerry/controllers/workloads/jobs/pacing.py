"""Time as Jobs count it: how long they ran, and how long to wait after failures. Pure: time comes in.

Only the first look compares wall clocks (a Job may have started before this process); from then on monotonic seconds
count, so that a clock that jumps ends no Job. No time stamp of a node is compared with anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from skerry.model.times import parse_time

FIRST_S, LIMIT_S = 10.0, 600.0
"""Kubernetes' back-off of a Job: ten seconds, doubled with every failure, at most ten minutes."""


class Stopwatch:
    """Seconds since a moment that an object tells, by key."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[str, float]] = {}  # key -> the moment as told, monotonic seconds of it

    def elapsed_s(self, key: str, since: str | None, *, now: datetime, monotonic_s: float) -> float:
        """Return the seconds since *since*, an RFC 3339 time; 0 when there is none or it lies ahead."""
        if not since:
            self._began.pop(key, None)
            return 0.0
        known = self._began.get(key)
        if known is None or known[0] != since:
            self._began[key] = known = (since, monotonic_s - _age_s(since, now))
        return max(0.0, monotonic_s - known[1])

    def left_s(self, key: str, since: str | None, limit_s: float, *, now: datetime, monotonic_s: float) -> float:
        """Return the seconds until *limit_s* after *since*; 0 once it is over."""
        return _left_s(limit_s, self.elapsed_s(key, since, now=now, monotonic_s=monotonic_s))

    def forget(self, key: str) -> None:
        self._began.pop(key, None)


def _age_s(since: str, now: datetime) -> float:
    try:
        return max(0.0, (now - parse_time(since)).total_seconds())
    except ValueError:
        return 0.0


class Failures:
    """When each ended Pod of a Job was first seen ended, and the back-off that follows."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, tuple[bool, float]]] = {}  # job -> pod -> (succeeded, monotonic seconds)

    def observe(self, job: str, ended: Mapping[str, bool], *, monotonic_s: float) -> None:
        """Take in the ended Pods of *job*: UID -> whether it succeeded. Those that are gone are forgotten."""
        before = self._seen.get(job, {})
        found = {uid: before.get(uid, (good, monotonic_s)) for uid, good in ended.items()}
        if found:
            self._seen[job] = found
        else:
            self._seen.pop(job, None)

    def forget(self, job: str) -> None:
        self._seen.pop(job, None)

    def left_s(self, job: str, *, monotonic_s: float) -> float:
        """Return how long to wait before the next Pod: it grows with the failures since the last success."""
        seen = self._seen.get(job, {}).values()
        succeeded = max((at for good, at in seen if good), default=float("-inf"))
        failed = [at for good, at in seen if not good and at >= succeeded]
        return delay_s(len(failed), since_s=monotonic_s - max(failed)) if failed else 0.0

    def left_for(self, job: str, pod: str, failures: int, *, monotonic_s: float) -> float:
        """Return how long to wait after *pod*, the last of so many *failures* of one index."""
        seen = self._seen.get(job, {}).get(pod)
        return delay_s(failures, since_s=monotonic_s - seen[1]) if seen else 0.0


def _left_s(whole_s: float, passed_s: float) -> float:
    """Return what is left: at least a hundredth of a second, so that rounding makes nobody look again without end."""
    return max(0.01, whole_s - passed_s) if passed_s < whole_s else 0.0


def delay_s(failures: int, *, since_s: float) -> float:
    """Return what is left of the back-off after so many failures, the last of them *since_s* ago."""
    if failures <= 0:
        return 0.0
    whole = min(LIMIT_S, FIRST_S * 2.0 ** min(failures - 1, 32))
    return _left_s(whole, since_s)
