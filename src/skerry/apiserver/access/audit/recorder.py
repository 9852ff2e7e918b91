"""Between the dispatcher and the log: gives each request its number, and notes those that are worth it.

Where the log is required, a write that could not be logged is refused before it is carried out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping

from skerry.apiserver.access.audit.events import NONE, Entry
from skerry.apiserver.access.audit.log import AuditLog
from skerry.apiserver.access.audit.policy import glance, wanted
from skerry.apiserver.access.audit.shares import Shares
from skerry.apiserver.http.message import ANONYMOUS, Request, User
from skerry.apiserver.http.paths import Target, parse
from skerry.model.errors import ApiError

READS = frozenset(("GET", "HEAD", "OPTIONS"))
FAILED = 400
_STREAMS = frozenset(("exec", "attach", "portforward"))
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


class Auditor:
    """Notes requests. Without a log it only numbers them. *clock* is seconds since 1970."""

    def __init__(self, log: AuditLog | None = None, *, required: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.log, self._required, self._clock = log, required, clock
        self._prefix = f"{secrets.token_hex(4)}-{secrets.token_hex(2)}-4{secrets.token_hex(2)[1:]}-8{secrets.token_hex(2)[1:]}-"
        self._count = 0
        self._shares = Shares()
        self.counted = 0
        """Requests that changed nothing and got no line."""

    def number(self) -> str:
        """Return the identifier of the next request, in the form of a UUID."""
        self._count += 1
        return f"{self._prefix}{self._count:012x}"

    @property
    def trouble(self) -> str:
        """What is wrong with the log, "" when all is well."""
        if self.log is None or not (self.log.trouble or self.log.dropped):
            return ""
        return "; ".join(filter(None, (self.log.trouble, f"{self.log.dropped} entries dropped" if self.log.dropped else "")))

    def require(self, method: str) -> None:
        """Refuse a write when it could not be logged, where that is demanded."""
        if self._required and method not in READS and self.log is not None and (self.log.trouble or self.log.full):
            why = self.log.trouble or "too much waits to be written"
            raise ApiError(503, "ServiceUnavailable", f"writes are refused because they could not be logged: {why}")

    def note(
        self, audit_id: str, request: Request, acts_as: User | None, status: int, received: float, notes: Mapping[str, str] = NONE
    ) -> None:
        """Note one answered request when it is worth a line; *notes* are what admission said of it."""
        if self.log is None or not glance(request.method, request.path, status, impersonated=acts_as is not None):
            return
        target = parse(request.path)
        verb = _verb(request, target is not None and bool(target.name))
        if not wanted(verb, target, request.user, status):
            return
        self._keep(audit_id, request, acts_as, status, received, verb, notes)

    def note_unknown(self, method: str, path: str, headers: Mapping[str, str], peer: str) -> None:
        """Note a request whose credentials are nobody's (401)."""
        if self.log is not None:
            request = Request(method, path, "", headers, b"", ANONYMOUS, peer)
            self._keep(self.number(), request, None, 401, self._clock(), method.lower())

    def _keep(
        self,
        audit_id: str,
        request: Request,
        acts_as: User | None,
        status: int,
        received: float,
        verb: str,
        notes: Mapping[str, str] = NONE,
    ) -> None:
        now, note = self._clock(), ""
        target = parse(request.path)
        if status >= FAILED or request.user.node or (request.method in READS and not _is_stream(target)):
            told = self._shares.take((request.user.name, status >= FAILED), now, stranger=request.user is ANONYMOUS)
            if told is None:
                self.counted += 1
                return
            note = told
        assert self.log is not None
        agent = request.headers.get("user-agent", "")
        entry = Entry(
            audit_id, received, now, verb, request.path, request.query, request.user, acts_as, request.peer, agent, target, status, note
        )
        self.log.note(entry._replace(annotations=notes) if notes else entry)


def _is_stream(target: Target | None) -> bool:
    return target is not None and target.subresource in _STREAMS


def _verb(request: Request, named: bool) -> str:
    if request.method == "GET":
        if named:
            return "get"
        return "watch" if "watch=1" in request.query or "watch=true" in request.query.lower() else "list"
    if request.method == "DELETE":
        return "delete" if named else "deletecollection"
    return _VERBS.get(request.method, request.method.lower())
