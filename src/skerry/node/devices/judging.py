"""What a value is worth, and whether it is news. Pure; what a device says is never trusted further than its profile goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from skerry.drivers import Quality, Sample
from skerry.model.profiles import Property, Rule, Scalar, value_error
from skerry.node.devices.twin import Reported

MAX_DETAIL = 256


def judge(prop: Property, sample: Sample) -> Reported:
    """Return the sample as the twin keeps it: Bad when out of range, and without a value when of another type."""
    if sample.value is None:
        return Reported(None, sample.at, Quality.BAD, sample.detail[:MAX_DETAIL])
    value = _typed(prop, sample.value)
    why = value_error(prop, value)
    if why is None:
        return Reported(value, sample.at, sample.quality, sample.detail[:MAX_DETAIL])
    return Reported(value if _comparable(prop, value) else None, sample.at, Quality.BAD, why)


def _typed(prop: Property, value: Scalar) -> Scalar:
    """JSON and registers do not tell 3 from 3.0: the profile does."""
    if prop.type == "number" and type(value) is int and abs(value) < 2**1000:
        return float(value)
    if prop.type == "integer" and type(value) is float and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _comparable(prop: Property, value: Scalar) -> bool:
    """A value out of range is shown; one of another type, NaN or a monster is not."""
    if prop.type == "number":
        return type(value) is float and abs(value) < 1e300
    return prop.type == "integer" and type(value) is int and abs(value) < 2**63


def is_news(prop: Property, told: Reported | None, now: Reported) -> bool:
    """Say whether a sample should go out: the first, a change of quality, a change beyond the deadband."""
    if now.value is None:
        return False
    if told is None or told.value is None or told.quality is not now.quality:
        return True
    if prop.type in ("number", "integer"):
        return abs(float(now.value) - float(told.value)) > prop.deadband
    return now.value != told.value


def firing(rules: Iterable[Rule], reported: Mapping[str, Reported], before: Iterable[str]) -> tuple[list[Rule], list[str]]:
    """Return the events that begin now, and all whose condition holds; one that cannot be told stays as it was."""
    values = {n: r.value for n, r in reported.items() if r.quality is Quality.GOOD and r.value is not None}
    begun: list[Rule] = []
    held: list[str] = []
    for rule in rules:
        answer = rule.when.evaluate(values)
        was = rule.name in before
        holds = answer if isinstance(answer, bool) else was
        if holds:
            held.append(rule.name)
            if not was:
                begun.append(rule)
    return begun, held
