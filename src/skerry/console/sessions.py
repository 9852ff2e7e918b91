"""Who is signed in. Pure: tokens come from a generator that is passed in, times are monotonic seconds.

Only hashes of tokens are kept, in memory: a restart of the hub signs everybody out. A session ends when it was idle for
`IDLE_S`, or after `LONGEST_S` whatever happens, or by signing out.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

import msgspec

IDLE_S = 30 * 60.0
"""Half an hour without a request and without an open stream: somebody left."""

LONGEST_S = 12 * 3600.0
"""A working day; afterwards a new code is needed."""

MOST = 256
"""Sessions at once; the one idle for longest makes room."""


class Session(msgspec.Struct):
    """One signed-in browser. `csrf` has to come back in a header with every POST."""

    user: str
    csrf: str
    began: float
    seen: float
    ended: bool = False

    def is_over(self, now: float) -> bool:
        return self.ended or now - self.seen >= IDLE_S or now - self.began >= LONGEST_S


class Sessions:
    """All sessions, by the hash of their token."""

    def __init__(self, *, token: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> None:
        self._token = token
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, user: str, now: float) -> tuple[str, Session]:
        """Return the token for the cookie, and the session."""
        self._drop_old(now)
        while len(self._sessions) >= MOST:
            idle_longest = min(self._sessions, key=lambda h: self._sessions[h].seen)
            self._sessions.pop(idle_longest).ended = True
        token = self._token()
        session = Session(user, self._token(), now, now)
        self._sessions[_hash(token)] = session
        return token, session

    def find(self, token: str, now: float) -> Session | None:
        """Return the session of *token* and count this as a sign of life; None when there is none, or no longer."""
        session = self._sessions.get(_hash(token))
        if session is None or session.is_over(now):
            return None
        session.seen = now
        return session

    def end(self, token: str) -> None:
        session = self._sessions.pop(_hash(token), None)
        if session is not None:
            session.ended = True

    def _drop_old(self, now: float) -> None:
        self._sessions = {h: s for h, s in self._sessions.items() if not s.is_over(now)}


def same(left: str, right: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
