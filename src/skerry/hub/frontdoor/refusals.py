"""What a node says when it does not open a stream, made safe to pass on: a node is a peer, not a part of the hub. Pure."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from skerry.model.errors import ApiError
from skerry.model.unreadable import NOT_JSON

MAX_MESSAGE = 1024
_REASON = re.compile(r"[A-Za-z]{1,64}")


def checked_refusal(node: str, status: str, body: bytes) -> ApiError:
    """Return the node's error with a code from 400 to 599, a plain reason and a printable message; 502 when it makes no sense."""
    code = int(status) if status.isascii() and status.isdigit() and len(status) == 3 else 0
    try:
        said: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except NOT_JSON:
        said = {}
    message, reason = said.get("message"), said.get("reason")
    if not 400 <= code <= 599 or not isinstance(message, str):
        return ApiError(502, "BadGateway", f"node {node} refused the stream in words that make no sense")
    clean = "".join(c if c.isprintable() else " " for c in message[:MAX_MESSAGE])
    return ApiError(code, reason if isinstance(reason, str) and _REASON.fullmatch(reason) else "Unknown", clean)
