"""Resource quantities: exact numbers with a suffix, canonicalised as apimachinery does. Source: pkg/api/resource."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NUMBER = re.compile(r"([+-]?)(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:([eE][+-]?\d{1,3})|([KMGTPE]i)|([numkMGTPE]?))")
_MAX = Decimal(2**63 - 1)


class QuantityError(ValueError):
    """Not a quantity; the message is Kubernetes' own."""


def parse(text: str | float) -> Decimal:
    """Return the exact value, rounded up to 1n; with a binary suffix capped at 2^63-1, as Kubernetes does."""
    value, _, _ = _split(text)
    return value


def canonical(text: str | float) -> str:
    """Return the canonical form: `0.5` -> `500m`, `1024Mi` -> `1Gi`, `1e3` stays, `100000k` -> `100M`."""
    value, family, _ = _split(text)
    if family == "binary":
        return _binary(value)
    if family == "exponent":
        return _exponent(value)
    return _decimal(value)


def _split(text: str | float) -> tuple[Decimal, str, str]:
    match = _NUMBER.fullmatch(str(text))
    if match is None:
        raise QuantityError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    sign, digits, exponent, binary, decimal = match.groups()
    value = Decimal(sign + digits)
    if exponent:
        value, family = value.scaleb(int(exponent[1:])), "exponent"
    elif binary:
        value, family = value * _BINARY[binary], "binary"
    else:
        value, family = value.scaleb(_DECIMAL[decimal or ""]), "decimal"
    if binary and value > _MAX:
        value = _MAX
    value = value.quantize(Decimal("1e-9"), rounding=ROUND_CEILING) if value.as_tuple().exponent < -9 else value  # type: ignore[operator]
    return value, family, text if isinstance(text, str) else str(text)


def _binary(value: Decimal) -> str:
    if abs(value) < 1024 or value != value.to_integral_value():
        return _decimal(value)
    number, suffix = int(value), ""
    for name in _BINARY:
        if number % 1024:
            break
        number, suffix = number // 1024, name
    return f"{number}{suffix}"


def _decimal(value: Decimal) -> str:
    if value == 0:
        return "0"
    mantissa, power = _integer(value)
    while power % 3:
        mantissa, power = mantissa * 10, power - 1
    suffix = {v: k for k, v in _DECIMAL.items()}.get(power)
    while suffix is None:
        mantissa, power = mantissa * 1000, power - 3
        suffix = {v: k for k, v in _DECIMAL.items()}.get(power)
    return f"{mantissa}{suffix}"


def _exponent(value: Decimal) -> str:
    if value == 0:
        return "0"
    mantissa, power = _integer(value)
    while power % 3:
        mantissa, power = mantissa * 10, power - 1
    return f"{mantissa}e{power}" if power else str(mantissa)


def _integer(value: Decimal) -> tuple[int, int]:
    """Return (mantissa, power of ten) with no trailing zeros in the mantissa."""
    sign, digits, power = value.as_tuple()
    assert isinstance(power, int)
    mantissa = int("".join(map(str, digits)) or "0")
    while mantissa and mantissa % 10 == 0:
        mantissa, power = mantissa // 10, power + 1
    return (-mantissa if sign else mantissa), power
