"""Query strings, read once into what the verbs need; numbers and booleans as Go reads them."""

from __future__ import annotations

from urllib.parse import parse_qsl

from skerry.model.errors import ApiError, bad_request

MAX_PARAMETERS = 100
_MAX_DIGITS = 64
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False", ""))

Query = dict[str, str]
EMPTY: Query = {}


def parse(raw: str) -> Query:
    """Return the parameters; of one given twice the first counts (`dryRun` and `command` are read by their own readers)."""
    if not raw:
        return EMPTY
    found: Query = {}
    for key, value in pairs(raw):
        found.setdefault(key, value)
    return found


def pairs(raw: str) -> list[tuple[str, str]]:
    """Return all parameters in order."""
    try:
        return parse_qsl(raw, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise bad_request(f"the query has more than {MAX_PARAMETERS} parameters") from None


def flag(query: Query, key: str, *, default: bool = False) -> bool:
    """Return a boolean; anything that is not one counts as given, as in Go's conversion of query values."""
    value = query.get(key)
    if value is None:
        return default
    if value in _FALSE:
        return value == "" and key in ("watch", "follow")
    return True


def number(query: Query, key: str) -> int | None:
    """Return a number, None when it is not given; ApiError 400 in Go's words when it is not one."""
    value = query.get(key)
    if value is None or value == "":
        return None
    try:
        if not value.isascii() or len(value) > _MAX_DIGITS or not -(2**63) <= (found := int(value)) < 2**63:
            raise ValueError
        return found
    except ValueError:
        raise ApiError(400, "BadRequest", f'strconv.ParseInt: parsing "{value[:64]}": invalid syntax') from None
