"""Times as Kubernetes writes them. `now` is always an argument: nothing here reads a clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def rfc3339(at: datetime) -> str:
    """Return `2026-01-05T10:00:02Z`: second precision, UTC (metav1.Time)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(at: datetime) -> str:
    """Return `2026-01-05T10:00:02.000000Z`: six decimals, UTC (metav1.MicroTime)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Return the time in UTC; raises ValueError for anything but RFC 3339 with a zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return at.astimezone(UTC)


def parse_duration(text: str) -> float:
    """Return seconds of a Go duration such as `1m30s` or `250ms`; raises ValueError naming the text."""
    position, total = 0, 0.0
    for match in _DURATION.finditer(text):
        if match.start() != position:
            break
        total += float(match[1]) * _UNIT_S[match[2]]
        position = match.end()
    if not text or position != len(text):
        raise ValueError(f"{text!r} is not a duration such as 250ms, 30s or 1h30m")
    return total


def age(since: datetime, now: datetime) -> str:
    """Return the age as kubectl prints it: `45s`, `5m`, `3h20m`, `2d5h`, `1y30d` (apimachinery duration.HumanDuration)."""
    return human_duration(now - since)


def human_duration(span: timedelta) -> str:
    """Return a duration in at most two units, as apimachinery's duration.HumanDuration does."""
    s = int(span.total_seconds())
    if s < -1:
        return "<invalid>"
    if s < 0:
        return "0s"
    if s < 120:
        return f"{s}s"
    m = s // 60
    if m < 10:
        return f"{m}m{s % 60}s" if s % 60 else f"{m}m"
    if m < 180:
        return f"{m}m"
    h = m // 60
    if h < 8:
        return f"{h}h{m % 60}m" if m % 60 else f"{h}h"
    if h < 48:
        return f"{h}h"
    d = h // 24
    if h < 192:
        return f"{d}d{h % 24}h" if h % 24 else f"{d}d"
    if d < 730:
        return f"{d}d"
    y, rest = divmod(d, 365)
    if y < 8:
        return f"{y}y{rest}d" if rest else f"{y}y"
    return f"{y}y"
