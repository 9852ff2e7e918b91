"""Cron schedules: whether they can be read. What they mean is in `model.schedules`."""

from __future__ import annotations

from skerry.model.schedules import ScheduleError, parse_schedule, time_zone

__all__ = ["schedule_error", "time_zone"]


def schedule_error(text: str) -> str | None:
    """Return what is wrong with a schedule, or None."""
    try:
        parse_schedule(text)
    except ScheduleError as error:
        return str(error)
    return None
