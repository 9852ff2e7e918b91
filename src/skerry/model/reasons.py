"""Why the operating system said no, in its own words: without numbers, and without how Python's libraries dress it up. Pure."""

from __future__ import annotations

import os


def why(error: BaseException) -> str:
    """Return `connection refused` for "[Errno 111] Connect call failed ('10.0.0.7', 80)"; the words of any other error as they are."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    number = (error.errno or 0) if isinstance(error, OSError) else 0
    if number > 0 and (said == os.strerror(number) or "Connect call failed" in said):
        return os.strerror(number).lower()
    return said.lower() if number < 0 else said  # a name that cannot be looked up
