"""Cron schedules: whether they can be read. What they mean is in `model.schedules`."""

from __future__ import annotations

from skerry.model.schedules import ScheduleError, parse_schedule


def schedule_error(text: str) -> str | None:
    """Return what is wrong with a schedule, or None."""
    try:
        parse_schedule(text)
    except ScheduleError as error:
        return str(error)
    return None
