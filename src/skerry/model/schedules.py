"""Cron schedules: five fields, a descriptor such as `@hourly`, or `@every 90m`; and the times that they name.

A time that daylight saving skips is skipped; one that comes twice is named twice. Of day of month and day of week, when
both are restricted, either is enough. Source: the documentation of CronJob, which follows `robfig/cron`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

import msgspec

from skerry.model.times import parse_duration

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[int, int, tuple[str, ...]], ...] = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 6, _DAYS))
_EVERY = re.compile(r"@every (\d+(\.\d+)?(ns|us|ms|s|m|h))+")

LONGEST = timedelta(days=5 * 366)
"""A schedule that names no time in five years (30 February) names none."""


class ScheduleError(ValueError):
    """The text is no schedule; the message says what is wrong with it."""


class Every(msgspec.Struct, frozen=True):
    """A fixed distance, at least a second."""

    period: timedelta

    def after(self, at: datetime) -> datetime | None:
        """Return the next time after *at*."""
        return at.replace(microsecond=0) + self.period


class Cron(msgspec.Struct, frozen=True):
    """Minutes of the calendar in one time zone."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    """Whether day of month and day of week are both restricted, so that either is enough."""
    zone: tzinfo = UTC

    def after(self, at: datetime) -> datetime | None:
        """Return the first minute after *at* that the schedule names, in UTC; None when there is none in five years."""
        found = at.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        limit = found + LONGEST
        while found <= limit:
            local = found.astimezone(self.zone)
            if local.month not in self.months:
                found = self._utc(local.year + local.month // 12, local.month % 12 + 1, 1, after=found)
            elif not self._names_day(local):
                day = (local + timedelta(days=1)).date()
                found = self._utc(day.year, day.month, day.day, after=found)
            elif local.hour not in self.hours:
                found += timedelta(minutes=60 - local.minute)
            elif local.minute not in self.minutes:
                found += timedelta(minutes=1)
            else:
                return found
        return None

    def _utc(self, year: int, month: int, day: int, *, after: datetime) -> datetime:
        """Return the beginning of a local day; never before *after*, or a change of clocks could hold us for ever."""
        found = datetime(year, month, day, tzinfo=self.zone).astimezone(UTC)
        return max(found, after + timedelta(minutes=1))

    def _names_day(self, local: datetime) -> bool:
        by_date, by_weekday = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return by_date or by_weekday if self.either_day else by_date and by_weekday


Schedule = Cron | Every


def parse_schedule(text: str, zone: tzinfo = UTC) -> Schedule:
    """Return the schedule; raises ScheduleError."""
    if text.startswith(("TZ=", "CRON_TZ=")):
        raise ScheduleError("cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    if _EVERY.fullmatch(text):
        return Every(timedelta(seconds=max(1, int(parse_duration(text.removeprefix("@every "))))))
    if text.startswith("@") and text not in _DESCRIPTORS:
        raise ScheduleError(f"unrecognized descriptor: {text}")
    fields = _DESCRIPTORS.get(text, text).split()
    if len(fields) != len(_FIELDS):
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    sets = [_field(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True)]
    either = not (_is_open(fields[2]) or _is_open(fields[4]))
    return Cron(sets[0], sets[1], sets[2], sets[3], sets[4], either, zone)


def _is_open(field: str) -> bool:
    """Whether a field of days restricts nothing."""
    return any(part in ("*", "?", "*/1", "?/1") for part in field.split(","))


def _field(field: str, low: int, high: int, words: tuple[str, ...]) -> frozenset[int]:
    return frozenset(number for part in field.split(",") for number in _part(part, low, high, words))


def _part(part: str, low: int, high: int, words: tuple[str, ...]) -> range:
    span, slash, step_text = part.partition("/")
    step = 1
    if slash:
        if not _is_number(step_text):
            raise ScheduleError(f"failed to parse int from {step_text}")
        step = int(step_text[:9])
        if step == 0:
            raise ScheduleError(f"step of range should be a positive number: {part}")
    if span in ("*", "?"):
        return range(low, high + 1, step)
    ends = span.split("-")
    if len(ends) > 2:
        raise ScheduleError(f"too many hyphens: {part}")
    first, last = _number(ends[0], low, words), _number(ends[-1], low, words)
    if first < low:
        raise ScheduleError(f"beginning of range ({first}) below minimum ({low}): {part}")
    if last > high:
        raise ScheduleError(f"end of range ({last}) above maximum ({high}): {part}")
    if first > last:
        raise ScheduleError(f"beginning of range ({first}) beyond end of range ({last}): {part}")
    # A single number with a step goes on to the end: 5/15 is 5-59/15.
    return range(first, (high if slash and len(ends) == 1 else last) + 1, step)


def _number(text: str, low: int, words: tuple[str, ...]) -> int:
    if text.lower() in words:
        return words.index(text.lower()) + low
    if not _is_number(text):
        raise ScheduleError(f"failed to parse int from {text}")
    return int(text[:9])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def time_zone(name: str) -> tzinfo | None:
    """Return the time zone of an IANA name, or None when this machine's zone data do not have it."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None
