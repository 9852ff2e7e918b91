"""Timestamps and durations as CEL reads and writes them. Microseconds are what we keep of a second."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from skerry.apiserver.cel.errors import EvaluationError

MAX_DURATION = timedelta(days=365 * 10_000)
_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|[+-]?0", re.ASCII)
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_MICROSECONDS = {"ns": 0.001, "us": 1, "µs": 1, "μs": 1, "ms": 1e3, "s": 1e6, "m": 6e7, "h": 3.6e9}
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)


def parse_timestamp(text: str) -> datetime:
    """Read RFC 3339; raises EvaluationError."""
    match = _TIMESTAMP.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        micros = int(f"{match[7] or '.0'}"[1:7].ljust(6, "0"))
        offset = UTC if match[8] in "Zz" else timezone(_offset(match[8]))
        return datetime(*(int(match[i]) for i in range(1, 7)), micros, offset).astimezone(UTC)  # type: ignore[call-arg,arg-type]
    except (ValueError, OverflowError):
        shown = text[:64]
        raise EvaluationError(f'parsing time "{shown}" as "2006-01-02T15:04:05Z07:00": cannot parse "{shown}" as "2006"') from None


def _offset(text: str) -> timedelta:
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise ValueError(text)
    found = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -found if match[1] == "-" else found


def timestamp_text(value: datetime) -> str:
    fraction = f".{value.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{value:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def parse_duration(text: str) -> timedelta:
    """Read a duration as Go writes it (`1h30m`); raises EvaluationError."""
    if len(text) > 64 or _DURATION.fullmatch(text) is None:
        raise EvaluationError(f'time: invalid duration "{text[:64]}"')
    micros = sum(float(number) * _MICROSECONDS[unit] for number, unit in _PART.findall(text))
    found = timedelta(microseconds=micros) if micros < 3.15e17 else MAX_DURATION * 2
    if found > MAX_DURATION:
        raise EvaluationError(f'time: invalid duration "{text[:64]}"')
    return -found if text.startswith("-") else found


def duration_text(value: timedelta) -> str:
    seconds = value.total_seconds()
    return f"{int(seconds)}s" if seconds.is_integer() else f"{seconds:.6f}".rstrip("0") + "s"


def add_time(at: datetime, by: timedelta) -> datetime:
    try:
        return at + by
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


def zone(name: str) -> tzinfo:
    """Return a time zone by its name or its offset; raises EvaluationError."""
    if _OFFSET.fullmatch(name):
        return timezone(_offset(name))
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise EvaluationError(f"unknown time zone {name[:64]}") from None
