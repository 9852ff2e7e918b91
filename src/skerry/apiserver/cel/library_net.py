"""Kubernetes' functions on URLs, IP addresses and CIDRs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

from skerry.apiserver.cel.errors import EvaluationError
from skerry.apiserver.cel.functions import CIDR, IP, URL, define, length
from skerry.apiserver.cel.types import BOOL, INT, STRING, list_of, map_of
from skerry.apiserver.cel.values import Address, Network, Url, Value

_URL = re.compile(r"(?:([a-zA-Z][a-zA-Z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_HOST = re.compile(r"(?:[^@]*@)?(\[[0-9a-fA-F:.%]+\]|[^:\[\]]*)(?::(\d*))?")


def add() -> None:
    define("url", (STRING,), URL, parse_url, cost=length)
    define("isURL", (STRING,), BOOL, lambda s: _succeeds(parse_url, s), cost=length)
    parts: dict[str, Callable[[Url], str]] = {
        "getScheme": lambda u: u.scheme,
        "getHost": lambda u: u.host,
        "getHostname": lambda u: u.hostname,
        "getPort": lambda u: u.port,
        "getEscapedPath": lambda u: u.path,
    }
    for name, do in parts.items():
        define(name, (URL,), STRING, do, member=True)
    define("getQuery", (URL,), map_of(STRING, list_of(STRING)), lambda u: {k: list(v) for k, v in u.query}, member=True)
    _addresses()
    _networks()


def _succeeds(do: Callable[[str], Value], text: str) -> bool:
    try:
        do(text)
    except EvaluationError:
        return False
    return True


def parse_url(text: str) -> Url:
    """Read an absolute URL, or an absolute path; raises EvaluationError."""
    match = _URL.fullmatch(text)
    wrong = EvaluationError(f'URL parse error during conversion from string: parse "{text[:200]}": invalid URI for request')
    if match is None or _CONTROL.search(text):
        raise wrong
    scheme, authority, path = (match[1] or "").lower(), match[2] or "", match[3] or ""
    if not scheme and not path.startswith("/"):
        raise wrong
    host = _HOST.fullmatch(authority)
    if host is None or re.search(r"%(?![0-9a-fA-F]{2})", path):
        raise wrong
    query: dict[str, list[str]] = {}
    for key, value in parse_qsl(match[4] or "", keep_blank_values=True, max_num_fields=1000):
        query.setdefault(key, []).append(value)
    shown = authority.rpartition("@")[2]
    found = tuple((k, tuple(v)) for k, v in query.items())
    return Url(text, scheme, unquote(shown), unquote(host[1].strip("[]")), host[2] or "", path, found)


def _addresses() -> None:
    define("ip", (STRING,), IP, parse_ip)
    define("isIP", (STRING,), BOOL, lambda s: _succeeds(parse_ip, s))
    define("ip.isCanonical", (STRING,), BOOL, lambda s: str(parse_ip(s)) == s)
    define("string", (IP,), STRING, str)
    define("family", (IP,), INT, lambda a: a.version, member=True)
    tests: dict[str, Callable[[Address], bool]] = {
        "isUnspecified": lambda a: a.is_unspecified,
        "isLoopback": lambda a: a.is_loopback,
        "isLinkLocalMulticast": lambda a: str(a).startswith("224.0.0.") if a.version == 4 else str(a).startswith("ff02:"),
        "isLinkLocalUnicast": lambda a: a.is_link_local,
        "isGlobalUnicast": _is_global_unicast,
    }
    for name, do in tests.items():
        define(name, (IP,), BOOL, do, member=True)


def _is_global_unicast(address: Address) -> bool:
    special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not special and str(address) != "255.255.255.255"


def parse_ip(text: str) -> Address:
    """Read an address without a zone; raises EvaluationError."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise EvaluationError(f'IP Address "{text[:64]}" parse error during conversion from string: unable to parse IP') from None
    if isinstance(found, ipaddress.IPv6Address) and (found.scope_id or found.ipv4_mapped):
        raise EvaluationError(f'IP Address "{text[:64]}": a zone, or an IPv4-mapped IPv6 address, is not allowed')
    return found


def _networks() -> None:
    define("cidr", (STRING,), CIDR, parse_cidr)
    define("isCIDR", (STRING,), BOOL, lambda s: _succeeds(parse_cidr, s))
    define("string", (CIDR,), STRING, str)
    define("containsIP", (CIDR, IP), BOOL, lambda n, a: a in n.network, member=True)
    define("containsIP", (CIDR, STRING), BOOL, lambda n, s: parse_ip(s) in n.network, member=True)
    define("containsCIDR", (CIDR, CIDR), BOOL, _inside, member=True)
    define("containsCIDR", (CIDR, STRING), BOOL, lambda n, s: _inside(n, parse_cidr(s)), member=True)
    define("ip", (CIDR,), IP, lambda n: n.ip, member=True)
    define("masked", (CIDR,), CIDR, lambda n: parse_cidr(str(n.network)), member=True)
    define("prefixLength", (CIDR,), INT, lambda n: n.network.prefixlen, member=True)


def _inside(outer: Any, inner: Any) -> bool:
    return bool(outer.version == inner.version and inner.network.subnet_of(outer.network))


def parse_cidr(text: str) -> Network:
    """Read an address with its prefix; raises EvaluationError."""
    try:
        if "/" not in text or not text.rpartition("/")[2].isdigit() or "%" in text:
            raise ValueError
        return ipaddress.ip_interface(text)
    except ValueError:
        raise EvaluationError(f'CIDR "{text[:64]}" parse error during conversion from string: network address parse error') from None


__all__ = ["add", "parse_cidr", "parse_ip", "parse_url"]
