"""What the worker process and those who ask it have in common."""

from __future__ import annotations

MAX_LINE = 64 * 1024
"""Bytes of one request or answer."""
