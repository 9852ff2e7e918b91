"""No address where clouds tell secrets is ever called, however it is written."""

from __future__ import annotations

import pytest

from skerry.apiserver.webhooks.client import CallError, require_reachable


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "fe80::1",
        "fd00:ec2::254",
        "0.0.0.0",
        "::ffff:0.0.0.0",
        "224.0.0.1",
    ],
)
def test_addresses_of_the_link_and_of_metadata_are_refused(address: str) -> None:
    with pytest.raises(CallError, match="no address that a webhook may have"):
        require_reachable(address)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "fd00::7", "::ffff:192.0.2.7", "127.0.0.1", "hooks.example"])
def test_other_addresses_are_not(address: str) -> None:
    require_reachable(address)
