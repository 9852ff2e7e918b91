"""What people read of an error of the operating system."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from skerry.model.reasons import why


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.7', 80)"), "connection refused"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route to host"),
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "[SSL: WRONG_VERSION_NUMBER] wrong version number"),
        (TimeoutError(), "TimeoutError"),
        (ValueError("nothing of the kind"), "nothing of the kind"),
    ],
)
def test_an_error_is_told_in_the_systems_words(error: Exception, words: str) -> None:
    assert why(error) == words
