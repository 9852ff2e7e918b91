"""One-use codes by which a person signs in to the console: made by an admin's `skerry hub login`, good once, for five minutes.

What stays true: only hashes are kept, in memory; a code that was shown once is gone; a guess costs its holder nothing, so nobody
can be locked out. What keeps guesses out is the number of codes, 8e17: at 10,000 guesses a second for all of a code's life one of
them is right once in 250,000 million lives of a code.
"""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from skerry.apiserver.http.message import User

LIFETIME_S = 300.0
MAX_CODES = 64
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without those that look alike; 12 of them are 59 bits."""


class _Kept(msgspec.Struct, frozen=True):
    user: User
    until: float


class LoginCodes:
    """The codes that are good now. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def make(self, user: User, now: float) -> str:
        """Return a new code that signs in as *user*; the oldest is dropped beyond `MAX_CODES`."""
        self._drop_old(now)
        while len(self._kept) >= MAX_CODES:
            del self._kept[next(iter(self._kept))]
        letters = "".join(secrets.choice(_LETTERS) for _ in range(12))
        self._kept[_hash(letters)] = _Kept(user, now + LIFETIME_S)
        return "-".join(letters[i : i + 4] for i in (0, 4, 8))

    def redeem(self, code: str, now: float) -> User | None:
        """Return whose code it is and forget it; None when it is not good."""
        self._drop_old(now)
        if len(code) > 64:
            return None
        kept = self._kept.pop(_hash("".join(c for c in code.lower() if c.isalnum())), None)
        return kept.user if kept is not None else None

    def _drop_old(self, now: float) -> None:
        self._kept = {h: k for h, k in self._kept.items() if k.until > now}


def _hash(letters: str) -> str:
    return hashlib.sha256(letters.encode()).hexdigest()
