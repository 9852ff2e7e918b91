"""String formats of OpenAPI that Kubernetes checks in custom resources; an unknown format is not checked, as there."""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from skerry.model.times import parse_duration, parse_time

Check = Callable[[str], bool]

_DATE = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])", re.ASCII)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:?\d\d)", re.ASCII)
_UUID = re.compile(r"[0-9A-Fa-f]{8}-?[0-9A-Fa-f]{4}-?([0-9A-Fa-f])[0-9A-Fa-f]{3}-?([0-9A-Fa-f])[0-9A-Fa-f]{3}-?[0-9A-Fa-f]{12}")
_HOSTNAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4}")
_ISBN_10 = re.compile(r"(?:[0-9]{9}X|[0-9]{10})", re.ASCII)
_ISBN_13 = re.compile(r"[0-9]{13}", re.ASCII)
_CARD = re.compile(
    r"4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    r"|(?:2131|1800|35\d{3})\d{11}",
    re.ASCII,
)
_SSN = re.compile(r"\d{3}[- ]?\d{2}[- ]?\d{4}", re.ASCII)
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_HEX_COLOR = re.compile(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_BYTE = r"\s*(?:0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*"
_RGB_COLOR = re.compile(rf"rgb\({_BYTE},{_BYTE},{_BYTE}\)", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def _succeeds(parse: Callable[[str], object]) -> Check:
    def check(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _is_date_time(text: str) -> bool:
    return bool(_DATE_TIME.fullmatch(text)) and _parses_time(text.upper().replace(" ", "T"))


_parses_time = _succeeds(parse_time)


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _version(number: str) -> Check:
    def check(text: str) -> bool:
        match = _UUID.fullmatch(text)
        return match is not None and match[1] == number and (number == "3" or match[2] in "89abAB")

    return check


def _digits(text: str) -> str:
    return text.replace("-", "").replace(" ", "")


def _is_isbn_10(text: str) -> bool:
    digits = _digits(text)
    return bool(_ISBN_10.fullmatch(digits)) and sum((10 if c == "X" else int(c)) * (10 - i) for i, c in enumerate(digits)) % 11 == 0


def _is_isbn_13(text: str) -> bool:
    digits = _digits(text)
    return bool(_ISBN_13.fullmatch(digits)) and sum(int(c) * (1, 3)[i % 2] for i, c in enumerate(digits)) % 10 == 0


def _is_card(text: str) -> bool:
    """Return whether *text* is the number of a payment card, with its check digit (Luhn)."""
    digits = re.sub(r"[^0-9]", "", text)
    doubled = sum(sum(divmod(int(c) * (1, 2)[i % 2], 10)) for i, c in enumerate(reversed(digits)))
    return bool(_CARD.fullmatch(digits)) and doubled % 10 == 0


FORMATS: dict[str, Check] = {
    "date": lambda t: bool(_DATE.fullmatch(t)),
    "date-time": _is_date_time,
    "datetime": _is_date_time,
    "duration": _succeeds(parse_duration),
    "uuid": lambda t: bool(_UUID.fullmatch(t)),
    "uuid3": _version("3"),
    "uuid4": _version("4"),
    "uuid5": _version("5"),
    "ipv4": _succeeds(ipaddress.IPv4Address),
    "ipv6": _succeeds(ipaddress.IPv6Address),
    "cidr": lambda t: "/" in t and _succeeds(lambda s: ipaddress.ip_network(s, strict=False))(t),
    "mac": lambda t: bool(_MAC.fullmatch(t)),
    "hostname": lambda t: bool(_HOSTNAME.fullmatch(t)),
    "email": lambda t: bool(_EMAIL.fullmatch(t)),
    "uri": _is_uri,
    "isbn": lambda t: _is_isbn_10(t) or _is_isbn_13(t),
    "isbn10": _is_isbn_10,
    "isbn13": _is_isbn_13,
    "creditcard": _is_card,
    "ssn": lambda t: bool(_SSN.fullmatch(t)),
    "bsonobjectid": lambda t: bool(_OBJECT_ID.fullmatch(t)),
    "hexcolor": lambda t: bool(_HEX_COLOR.fullmatch(t)),
    "rgbcolor": lambda t: bool(_RGB_COLOR.fullmatch(t)),
    "byte": _succeeds(lambda t: binascii.a2b_base64(t, strict_mode=True)),
}
