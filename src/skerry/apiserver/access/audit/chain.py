"""The chain: each line ends with the SHA-256 over the hash of the line before and itself. Pure.

A line is a JSON object whose last member is `chain`; what is hashed is the object without it. The sequence number is inside.
"""

from __future__ import annotations

import hashlib

FIRST = "0" * 64
"""What stands for the hash before the first line of all."""
_MARK = b',"chain":"'
_TAIL = len(_MARK) + 64 + 2


def link(previous: str, body: bytes) -> tuple[bytes, str]:
    """Return *body* (a JSON object) as a line of the chain, and its hash."""
    digest = hashlib.sha256(previous.encode() + body).hexdigest()
    return body[:-1] + _MARK + digest.encode() + b'"}\n', digest


def unlink(line: bytes) -> tuple[bytes, str] | None:
    """Return the body and the hash of a line (without its newline); None when it is no line of a chain."""
    if len(line) <= _TAIL or line[-_TAIL : -_TAIL + len(_MARK)] != _MARK or not line.endswith(b'"}'):
        return None
    return line[:-_TAIL] + b"}", line[-66:-2].decode("ascii", "replace")


def follows(previous: str, line: bytes) -> str:
    """Return the hash of *line* when it follows *previous*, else ""."""
    parts = unlink(line)
    if parts is None:
        return ""
    body, said = parts
    return said if hashlib.sha256(previous.encode() + body).hexdigest() == said else ""
