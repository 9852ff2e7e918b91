"""Chance, from the kernel: the `random` module and what it loads take a quarter of a MiB, which a node has better uses for."""

from __future__ import annotations

import os


def fraction() -> float:
    """Return a number from 0 up to 1: to spread retries, not to keep secrets with."""
    return int.from_bytes(os.urandom(4)) / 2**32


def token(size: int) -> str:
    """Return *size* bytes that nobody can guess, in hexadecimal."""
    return os.urandom(size).hex()
