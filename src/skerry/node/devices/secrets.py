"""Reads a Secret's data for a device. Pure."""

from __future__ import annotations

import base64
import binascii

from skerry.model.objects import Object


def secret_values(secret: Object | None) -> dict[str, str]:
    """Return `data` decoded; what is not base64 of UTF-8 text is left out, since no driver could use it."""
    found: dict[str, str] = {}
    for key, text in ((secret or {}).get("data") or {}).items():
        try:
            found[key] = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
            continue
    return found
