"""Recognises a message that a device sends again because it missed the answer. Pure.

What must stay true: the latest messages, at least as many as were ever in flight at once, are recognised by their number *and*
their content, so that a device which begins to count anew after a reboot loses nothing; memory is bounded.
"""

from __future__ import annotations

from array import array

FIRST_SLOTS = 64
MAX_SLOTS = 8192


class Repetitions:
    """A table of number -> digest, one slot a number modulo its size."""

    def __init__(self) -> None:
        self._numbers = array("q", [-1]) * FIRST_SLOTS
        self._digests = array("I", [0]) * FIRST_SLOTS

    def keep(self, number: int, digest: int, *, in_flight: int = 0) -> None:
        """Remember a message; the table grows with what is in flight."""
        size = len(self._numbers)
        if in_flight * 2 > size < MAX_SLOTS:
            self._grow(size * 2)
        slot = number % len(self._numbers)
        self._numbers[slot] = number
        self._digests[slot] = digest

    def has(self, number: int, digest: int) -> bool:
        slot = number % len(self._numbers)
        return self._numbers[slot] == number and self._digests[slot] == digest

    def _grow(self, size: int) -> None:
        old = [(n, d) for n, d in zip(self._numbers, self._digests, strict=True) if n >= 0]
        self._numbers = array("q", [-1]) * size
        self._digests = array("I", [0]) * size
        for number, digest in old:
            self._numbers[number % size] = number
            self._digests[number % size] = digest
