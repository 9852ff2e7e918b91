"""Is the server well: named checks, all of them at `/livez` and `/readyz`, each by itself below them.

`?verbose` lists them, `?exclude=` leaves some out. A check that fails says no more to strangers than that it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from skerry.apiserver.http.answers import page_not_found, text_answer
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.query import pairs

Check = Callable[[], str]
"""Returns what is wrong, "" when nothing is."""


class Health:
    """Answers one endpoint, and what lies below it; `critical` checks decide, others are only told of."""

    def __init__(self, name: str, critical: Mapping[str, Check], told: Mapping[str, Check] | None = None) -> None:
        self._name = name
        self._critical, self._told = critical, told or {}

    async def all(self, request: Request) -> Response:
        """/livez, /readyz or /healthz"""
        given = pairs(request.query) if request.query else []
        excluded = {value for key, value in given if key == "exclude"}
        checks = {name: check for name, check in {**self._critical, **self._told}.items() if name not in excluded}
        wrong = {name: text for name, check in checks.items() if (text := check())}
        failed = [name for name in wrong if name in self._critical]
        if not failed and not any(key == "verbose" for key, _ in given):
            return text_answer("ok")
        lines = [f"[-]{name} failed: {wrong[name]}" if name in wrong else f"[+]{name} ok" for name in checks]
        lines += [f"[+]{name} excluded: ok" for name in sorted(excluded & {*self._critical, *self._told})]
        verdict = f"{self._name} check {'failed' if failed else 'passed'}"
        return text_answer("\n".join([*lines, verdict, ""]), 503 if failed else 200)

    async def one(self, request: Request) -> Response:
        """/livez/NAME"""
        name = request.path.rstrip("/").rpartition("/")[2]
        check = self._critical.get(name) or self._told.get(name)
        if check is None:
            return page_not_found()
        wrong = check()
        return text_answer(f"{name} failed: {wrong}", 503) if wrong else text_answer("ok")
