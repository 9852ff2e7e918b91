"""The console's routes: pages, sign-in and sign-out, the overview, and one stream for each open page.

Every answer carries the security headers. Whatever is wrong with a request is said in JSON with a `message`; what is
asked for without a session is 401, whether it exists or not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import msgspec

from skerry.console import headers as rules
from skerry.console.assets import Assets
from skerry.console.board import Board
from skerry.console.feeds import MOST_PER_PAGE, EventFeed, TwinFeeds
from skerry.console.ports import Request, Response, Sources
from skerry.console.sessions import LONGEST_S, Session, Sessions, same
from skerry.console.stream import Browser
from skerry.model.objects import Name
from skerry.model.rate import Bucket
from skerry.model.unreadable import NOT_JSON

HOME = "/console/"
_API = "/console/api/"
_BODY_LIMIT_BYTES = 64 * 1024
MOST_STREAMS = 100
"""Pages open at once, for all sessions."""
WRONG_PER_S, WRONG_BURST = 0.5, 10
"""How often a wrong code is answered as one, for all browsers together: it spares the log and tells a person to wait. What makes
guessing hopeless is the length of a code."""

_JSON = {**rules.SECURITY, "Content-Type": "application/json", "Cache-Control": "no-store"}


class RefusedError(Exception):
    """An answer other than 200; the message is for the person."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


class Login(msgspec.Struct, forbid_unknown_fields=True):
    code: str


class Watch(msgspec.Struct, forbid_unknown_fields=True):
    """What the page with *stream* wants besides the board: devices as `namespace/name`, and events or not."""

    stream: str
    devices: list[str] = []
    events: bool = False


class Console:
    """Answers all requests below /console; see the package's docstring for how to mount it."""

    ROUTES: ClassVar[tuple[tuple[tuple[str, ...], str], ...]] = (
        (("GET", "HEAD"), "/"),
        (("GET", "HEAD"), "/console"),
        (("GET", "HEAD", "POST"), "/console/*"),
    )

    def __init__(
        self,
        sources: Sources,
        *,
        redeem: Callable[[str], str | None],
        clock: Callable[[], float],
        version: str = "",
        assets: Assets | None = None,
    ) -> None:
        self._redeem, self._clock, self._version = redeem, clock, version
        self._sessions, self._wrong = Sessions(), Bucket(per_second=WRONG_PER_S, burst=WRONG_BURST)
        self._assets = assets if assets is not None else Assets()
        self._board = Board(sources)
        self._twins = TwinFeeds(sources.twins, self._node_of)
        self._events = EventFeed(sources.events)

    async def run(self) -> None:
        """Keep the open pages informed until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._board.run())
                group.create_task(self._events.run())
        finally:
            await self.close()

    async def close(self) -> None:
        """End every open page's stream."""
        for browser in self._board.browsers:
            browser.close()
        await self._twins.close()

    async def handle(self, request: Request) -> Response:
        """Return the answer to a request for `/`, `/console` or anything below it."""
        if request.path in ("/", "/console"):
            return Response(302, {**rules.SECURITY, "Location": HOME, "Cache-Control": "no-store"})
        try:
            if request.path.startswith(_API):
                return await self._api(request)
        except RefusedError as error:
            return Response(error.status, {**_JSON, **error.headers}, msgspec.json.encode({"message": error.message}))
        if request.method == "POST":
            return Response(405, {**_JSON, "Allow": "GET, HEAD"}, b'{"message":"pages are only read"}')
        return self._assets.answer(request.path.removeprefix(HOME), request.headers)

    async def _api(self, request: Request) -> Response:
        name = request.path.removeprefix(_API)
        if request.method == "POST":
            if not rules.is_same_origin(request.headers):
                raise RefusedError(403, "this request does not come from a page of the console")
            if name == "login":
                return self._login(request)
        session, token = self._session(request)
        if request.method == "POST":
            if not same(request.headers.get(rules.CSRF_HEADER, ""), session.csrf):
                raise RefusedError(403, f"the header {rules.CSRF_HEADER} is not this session's; load the page again")
            return self._post(name, request, token)
        match name:
            case "session":
                return _json({"user": session.user, "csrf": session.csrf, "version": self._version})
            case "overview":
                return _json(self._overview())
            case "stream":
                return self._stream(session)
        raise RefusedError(404, f"the console has no {name!r}")

    def _post(self, name: str, request: Request, token: str) -> Response:
        match name:
            case "logout":
                self._sessions.end(token)
                for browser in self._board.browsers:
                    browser.nudge()
                return Response(200, {**_JSON, "Set-Cookie": rules.clear_cookie()}, b"{}")
            case "watch":
                return self._watch(_body(request, Watch))
        raise RefusedError(404, f"the console has no {name!r}")

    def _session(self, request: Request) -> tuple[Session, str]:
        token = rules.cookie_of(request.headers)
        session = self._sessions.find(token, self._clock()) if token else None
        if session is None:
            raise RefusedError(401, "sign in with a code from `skerry hub login`")
        return session, token

    def _login(self, request: Request) -> Response:
        code = _body(request, Login).code
        user = self._redeem(code)
        if user is None:  # only wrong codes are counted: whoever guesses must not lock out who has a good one
            wait_s = self._wrong.take(self._clock())
            if wait_s:
                seconds = int(wait_s) + 1
                raise RefusedError(429, f"too many wrong codes; try again in {seconds} s", **{"Retry-After": str(seconds)})
            raise RefusedError(401, "This code is not good: it works once, for five minutes. Get a new one with: skerry hub login")
        old = rules.cookie_of(request.headers)
        if old:
            self._sessions.end(old)
        token, session = self._sessions.begin(user, self._clock())
        cookie = rules.set_cookie(token, longest_s=LONGEST_S)
        shown = {"user": session.user, "csrf": session.csrf, "version": self._version}
        return Response(200, {**_JSON, "Set-Cookie": cookie}, msgspec.json.encode(shown))

    def _overview(self) -> dict[str, Any]:
        views = self._board.refresh()
        return {f"{kind}s": list(found.values()) for kind, found in views.items()}

    def _stream(self, session: Session) -> Response:
        if len(self._board.browsers) >= MOST_STREAMS:
            raise RefusedError(429, f"{MOST_STREAMS} pages are open already", **{"Retry-After": "30"})
        headers = {**rules.SECURITY, "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Response(200, headers, self._messages(session))

    async def _messages(self, session: Session) -> AsyncIterator[bytes]:
        browser = Browser()
        self._board.refresh()
        self._board.add(browser)
        messages = browser.messages(lambda: self._is_good(session))
        try:
            async for message in messages:
                yield message
        finally:
            self._board.remove(browser)
            self._events.show(browser, on=False)
            self._twins.show(browser, frozenset())
            with contextlib.suppress(RuntimeError):
                await messages.aclose()  # type: ignore[attr-defined]

    def _is_good(self, session: Session) -> bool:
        """An open page keeps its session from being idle, but not beyond its longest time."""
        now = self._clock()
        if session.is_over(now):
            return False
        session.seen = now
        return True

    def _watch(self, wanted: Watch) -> Response:
        browser = next((b for b in self._board.browsers if b.id == wanted.stream), None)
        if browser is None:
            raise RefusedError(404, "this page's stream has ended; it will open another")
        if len(wanted.devices) > MOST_PER_PAGE:
            raise RefusedError(400, f"{len(wanted.devices)} devices on one page; {MOST_PER_PAGE} are followed at once")
        names = frozenset(Name(*text.split("/", 1)) for text in wanted.devices if text.count("/") == 1)
        self._twins.show(browser, frozenset(n for n in names if str(n) in self._board.views["device"]))
        self._events.show(browser, on=wanted.events)
        return _json({})

    def _node_of(self, name: Name) -> str:
        return str(self._board.views["device"].get(str(name), {}).get("node", ""))


def _json(value: Any) -> Response:
    return Response(200, _JSON, msgspec.json.encode(value))


def _body(request: Request, shape: type[Any]) -> Any:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise RefusedError(415, "the body has to be application/json")
    if len(request.body) > _BODY_LIMIT_BYTES:
        raise RefusedError(413, f"the body has {len(request.body)} bytes, the limit is {_BODY_LIMIT_BYTES}")
    try:
        return msgspec.json.decode(request.body, type=shape)
    except NOT_JSON as error:
        raise RefusedError(400, f"the body cannot be read: {error}") from None
