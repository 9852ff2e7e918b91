"""Cron schedules: five fields, or a descriptor such as `@hourly`; only whether they can be read."""

from __future__ import annotations

import re

_DESCRIPTORS = frozenset(("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_EVERY = re.compile(r"@every (\d+(\.\d+)?(ns|us|ms|s|m|h))+")


def schedule_error(text: str) -> str | None:
    """Return what is wrong with a schedule, or None."""
    if text.startswith(("TZ=", "CRON_TZ=")):
        return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
    if text.startswith("@"):
        return None if text in _DESCRIPTORS or _EVERY.fullmatch(text) else f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for field, (low, high, words) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            wrong = _part_error(part, low, high, words)
            if wrong:
                return wrong
    return None


def _part_error(part: str, low: int, high: int, words: tuple[str, ...]) -> str | None:
    span, slash, step = part.partition("/")
    if slash and (not step.isdigit() or int(step[:9]) == 0):
        return f"failed to parse int from {step}" if not step.isdigit() else f"step of range should be a positive number: {part}"
    if span in ("*", "?"):
        return None
    ends = span.split("-")
    if len(ends) > 2:
        return f"too many hyphens: {part}"
    numbers = []
    for end in ends:
        number = words.index(end.lower()) + low if end.lower() in words else int(end[:9]) if end.isdigit() else None
        if number is None:
            return f"failed to parse int from {end}"
        numbers.append(number)
    if numbers[0] < low:
        return f"beginning of range ({numbers[0]}) below minimum ({low}): {part}"
    if numbers[-1] > high:
        return f"end of range ({numbers[-1]}) above maximum ({high}): {part}"
    if numbers[0] > numbers[-1]:
        return f"beginning of range ({numbers[0]}) beyond end of range ({numbers[-1]}): {part}"
    return None
