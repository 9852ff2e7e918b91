"""Which drivers are found, and what is said of one that is not."""

from __future__ import annotations

import pytest

from skerry.drivers import RefusedError, load_plugin


def test_a_protocol_of_ours_is_found_without_asking_for_packages() -> None:
    assert type(load_plugin("modbus")).__name__ == "Modbus"


def test_a_protocol_that_nobody_speaks_is_named_with_how_to_add_it() -> None:
    with pytest.raises(
        RefusedError, match=r"no driver for protocol 'opcua' is installed on this node \(entry points group skerry.drivers\)"
    ):
        load_plugin("opcua")
