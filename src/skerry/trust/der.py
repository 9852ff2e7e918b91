"""Reads the few facts of an X.509 certificate that we act on, without a cryptography library.

It verifies nothing: give it certificates whose chain TLS has checked, or that came from our own files. Lengths are
claims and are checked against what is there. Source: RFC 5280, section 4.1; X.690 for DER.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

_SEQUENCE, _SET, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x31, 0x17, 0x18, 0xA0
_COMMON_NAME = bytes.fromhex("550403")
_ORGANIZATION = bytes.fromhex("55040a")
MAX_BYTES = 64 * 1024


class TrustError(ValueError):
    """Not a certificate, key or signature that we can use; the message says what is wrong with it."""


class CertificateFacts(msgspec.Struct, frozen=True):
    """Whose it is, which key, and from when until when it is valid (UTC). `key_hash` is the SHA-256 of its SPKI in hexadecimal."""

    common_name: str
    organizations: tuple[str, ...]
    key_hash: str
    not_before: datetime
    not_after: datetime


@lru_cache(maxsize=4096)
def facts_of(der: bytes) -> CertificateFacts:
    """Read a certificate in DER; raises TrustError. Cached: a peer's certificate is asked for again and again."""
    if len(der) > MAX_BYTES:
        raise TrustError(f"a certificate of {len(der)} bytes is more than {MAX_BYTES}")
    try:
        return _read(der)
    except (IndexError, ValueError, StopIteration, RuntimeError) as error:
        raise TrustError(f"not an X.509 certificate: {error}") from error


def key_hash(der: bytes) -> str:
    """Return the SHA-256 of the public key (SPKI) of a certificate in DER, in hexadecimal."""
    return facts_of(der).key_hash


def facts_of_pem(pem: str) -> CertificateFacts:
    """Read the first certificate of a PEM text."""
    return facts_of(pem_to_der(pem))


def pem_to_der(pem: str, label: str = "CERTIFICATE") -> bytes:
    """Return the bytes of the first *label* block of a PEM text; raises TrustError."""
    head, tail = f"-----BEGIN {label}-----", f"-----END {label}-----"
    _, found, rest = pem.partition(head)
    body, ended, _ = rest.partition(tail)
    if not found or not ended or len(body) > 2 * MAX_BYTES:
        raise TrustError(f"there is no PEM block {label!r}")
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error as error:
        raise TrustError(f"the PEM block {label!r} is not base64: {error}") from error


def _read(der: bytes) -> CertificateFacts:
    certificate = _inside(der, 0, _SEQUENCE)
    fields = _children(der, *_inside(der, certificate[0], _SEQUENCE))
    tag = next(fields)[0]
    if tag == _VERSION:
        next(fields)  # the serial number
    next(fields)  # the signature's algorithm
    next(fields)  # the issuer
    validity, subject, spki = next(fields), next(fields), next(fields)
    dates = [_time(tag, der[start:end]) for tag, _, start, end in _children(der, validity[2], validity[3])]
    if len(dates) != 2 or spki[0] != _SEQUENCE:
        raise TrustError("its validity or its key is not where it should be")
    names = list(_names(der, subject[2], subject[3]))
    return CertificateFacts(
        common_name=next((text for oid, text in names if oid == _COMMON_NAME), ""),
        organizations=tuple(text for oid, text in names if oid == _ORGANIZATION),
        key_hash=hashlib.sha256(der[spki[1] : spki[3]]).hexdigest(),
        not_before=dates[0],
        not_after=dates[1],
    )


def _names(der: bytes, start: int, end: int) -> Iterator[tuple[bytes, str]]:
    for tag, _, set_start, set_end in _children(der, start, end):
        if tag != _SET:
            raise TrustError("a name is not a set")
        for _, _, pair_start, pair_end in _children(der, set_start, set_end):
            oid, value = list(_children(der, pair_start, pair_end))[:2]
            yield der[oid[2] : oid[3]], der[value[2] : value[3]].decode("utf-8")


def _time(tag: int, raw: bytes) -> datetime:
    text = raw.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise TrustError("a date is neither UTCTime nor GeneralizedTime")
    if len(text) != 15 or not text[:14].isdigit() or text[14] != "Z":
        raise TrustError(f"{text!r} is not a date of a certificate")
    year, month, day, hour, minute, second = int(text[:4]), *(int(text[i : i + 2]) for i in range(4, 14, 2))
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def _inside(der: bytes, at: int, tag: int) -> tuple[int, int]:
    found, _, start, end = _element(der, at, len(der))
    if found != tag:
        raise TrustError(f"found tag {found:#x} where {tag:#x} should be")
    return start, end


def _children(der: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tag, where it begins, where its content begins, where it ends) of each element."""
    while start < end:
        element = _element(der, start, end)
        yield element
        start = element[3]


def _element(der: bytes, at: int, limit: int) -> tuple[int, int, int, int]:
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 3:
            raise TrustError(f"a length of {count} bytes")
        length, start = int.from_bytes(der[start : start + count], "big"), start + count
    if start + length > limit:
        raise TrustError("a length points beyond the end")
    return tag, at, start, start + length
