"""Who is signed in, and for how long; what a browser is told; which requests are believed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from skerry.console.headers import clear_cookie, cookie_of, is_same_origin, set_cookie
from skerry.console.sessions import IDLE_S, LONGEST_S, MOST, Sessions


def numbered() -> Callable[[], str]:
    numbers = count()
    return lambda: f"token-{next(numbers)}"


def test_a_session_lives_while_it_is_used_and_ends_when_it_is_idle() -> None:
    sessions = Sessions(token=numbered())
    token, session = sessions.begin("ann", 0.0)

    used = sessions.find(token, IDLE_S - 1)
    later = sessions.find(token, 2 * IDLE_S - 2)
    idle = sessions.find(token, 3 * IDLE_S)

    assert (used, later, idle) == (session, session, None)


def test_a_session_ends_after_a_day_of_work_however_busy() -> None:
    sessions = Sessions(token=numbered())
    token, _ = sessions.begin("ann", 0.0)
    step = IDLE_S / 2

    alive = [i * step for i in range(1, 100) if sessions.find(token, i * step)]

    assert max(alive) < LONGEST_S
    assert max(alive) >= LONGEST_S - step


def test_signing_out_ends_the_session_that_open_pages_hold_too() -> None:
    sessions = Sessions(token=numbered())
    token, session = sessions.begin("ann", 0.0)

    sessions.end(token)

    assert sessions.find(token, 1.0) is None
    assert session.is_over(1.0)


def test_the_session_idle_for_longest_makes_room() -> None:
    sessions = Sessions(token=numbered())
    tokens = [sessions.begin("ann", float(i))[0] for i in range(MOST)]
    sessions.find(tokens[0], 300.0)

    sessions.begin("bob", 301.0)

    assert len(sessions) == MOST
    assert sessions.find(tokens[0], 302.0) is not None
    assert sessions.find(tokens[1], 302.0) is None


def test_a_token_that_was_never_given_is_nobody() -> None:
    sessions = Sessions(token=numbered())
    sessions.begin("ann", 0.0)

    assert sessions.find("", 1.0) is None
    assert sessions.find("token-9", 1.0) is None


def test_the_cookie_is_for_this_host_over_tls_only_and_unseen_by_scripts() -> None:
    for cookie in (set_cookie("t", longest_s=60), clear_cookie()):
        name, *attributes = cookie.split("; ")
        assert name.startswith("__Host-skerry=")
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"} <= set(attributes)
        assert not any(a.startswith("Domain") for a in attributes)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("__Host-skerry=abc", "abc"),
        ("other=1; __Host-skerry=abc; more=2", "abc"),
        ("__Host-skerry=abc; __Host-skerry=def", ""),
        ("X__Host-skerry=abc", ""),
        ("", ""),
    ],
)
def test_the_cookie_is_read_only_when_there_is_one(header: str, token: str) -> None:
    assert cookie_of({"cookie": header}) == token


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "https://hub:6443", "host": "hub:6443"}, False),
        ({"origin": "https://hub:6443", "host": "hub:6443"}, True),
        ({"origin": "https://evil.example", "host": "hub:6443"}, False),
        ({"origin": "null", "host": "hub:6443"}, False),
        ({}, True),
    ],
)
def test_only_our_own_pages_are_believed(headers: dict[str, str], expected: bool) -> None:
    assert is_same_origin(headers) is expected
