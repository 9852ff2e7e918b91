"""Kubernetes' own types in expressions: quantities and named formats."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from skerry.apiserver.cel.errors import EvaluationError
from skerry.apiserver.cel.functions import FORMAT, QUANTITY, define
from skerry.apiserver.cel.types import BOOL, DOUBLE, INT, STRING, list_of, optional_of
from skerry.apiserver.cel.values import NOTHING, Format, Optional, Quantity, checked_int
from skerry.apiserver.schema.formats import FORMATS
from skerry.apiserver.schema.objectmeta import dns_1035_error
from skerry.model import quantity as quantities
from skerry.model.names import dns_label_error, dns_subdomain_error, label_value_error, qualified_name_error

Wrong = Callable[[str], "str | None"]
_NAMED: dict[str, Wrong] = {
    "dns1123Label": dns_label_error,
    "dns1123Subdomain": dns_subdomain_error,
    "dns1035Label": dns_1035_error,
    "qualifiedName": qualified_name_error,
    "labelValue": label_value_error,
    "dns1123LabelPrefix": lambda t: dns_label_error(t.removesuffix("-")),
    "dns1123SubdomainPrefix": lambda t: dns_subdomain_error(t.removesuffix("-")),
    "dns1035LabelPrefix": lambda t: dns_1035_error(t.removesuffix("-")),
}
_BY_SCHEMA = {"uri": "uri", "uuid": "uuid", "byte": "byte", "date": "date", "datetime": "date-time"}


def add() -> None:
    _quantities()
    for name in (*_NAMED, *_BY_SCHEMA):
        define(f"format.{name}", (), FORMAT, _constant(name))
    define("format.named", (STRING,), optional_of(FORMAT), _named)
    define("validate", (FORMAT, STRING), optional_of(list_of(STRING)), _validate, member=True)


def _constant(name: str) -> Callable[[], Format]:
    return lambda: Format(name)


def _named(name: str) -> Optional:
    return Optional(True, Format(name)) if name in _NAMED or name in _BY_SCHEMA else NOTHING


def _validate(wanted: Format, text: str) -> Optional:
    if wanted.name in _NAMED:
        wrong = _NAMED[wanted.name](text)
    else:
        wrong = None if FORMATS[_BY_SCHEMA[wanted.name]](text) else f"must be a valid {_BY_SCHEMA[wanted.name]}"
    return Optional(True, [wrong]) if wrong else NOTHING


def _quantities() -> None:
    define("quantity", (STRING,), QUANTITY, parse_quantity)
    define("isQuantity", (STRING,), BOOL, _is_quantity)
    define("sign", (QUANTITY,), INT, lambda q: (q.amount > 0) - (q.amount < 0), member=True)
    define("isInteger", (QUANTITY,), BOOL, _is_integer, member=True)
    define("asInteger", (QUANTITY,), INT, _as_integer, member=True)
    define("asApproximateFloat", (QUANTITY,), DOUBLE, lambda q: float(q.amount), member=True)
    for name, do in (("isGreaterThan", operator.gt), ("isLessThan", operator.lt)):
        define(name, (QUANTITY, QUANTITY), BOOL, _on_amounts(do), member=True)
    define("compareTo", (QUANTITY, QUANTITY), INT, _on_amounts(lambda x, y: (x > y) - (x < y)), member=True)
    for name, do in (("add", operator.add), ("sub", operator.sub)):
        define(name, (QUANTITY, QUANTITY), QUANTITY, _combined(do), member=True)
        define(name, (QUANTITY, INT), QUANTITY, _combined(do), member=True)


def parse_quantity(text: str) -> Quantity:
    """Read a quantity; raises EvaluationError."""
    try:
        if len(text) > 100:
            raise quantities.QuantityError(text)
        return Quantity(quantities.parse(text), text)
    except quantities.QuantityError:
        why = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        raise EvaluationError(why) from None


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except EvaluationError:
        return False
    return True


def _is_integer(value: Quantity) -> bool:
    return value.amount == value.amount.to_integral_value() and abs(value.amount) < 2**63


def _as_integer(value: Quantity) -> int:
    if not _is_integer(value):
        raise EvaluationError("cannot convert value to integer")
    return checked_int(int(value.amount))


def _on_amounts(do: Callable[[Any, Any], Any]) -> Callable[[Quantity, Quantity], Any]:
    return lambda x, y: do(x.amount, y.amount)


def _combined(do: Callable[[Any, Any], Any]) -> Callable[[Quantity, Any], Quantity]:
    def combine(x: Quantity, y: Any) -> Quantity:
        amount = do(x.amount, y.amount if isinstance(y, Quantity) else Decimal(int(y)))
        return Quantity(amount, str(amount))

    return combine
