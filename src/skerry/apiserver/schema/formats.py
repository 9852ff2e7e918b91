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
    "byte": _succeeds(lambda t: binascii.a2b_base64(t, strict_mode=True)),
}
