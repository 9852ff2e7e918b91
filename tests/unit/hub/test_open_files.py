"""How many may come in, by how many files may be open."""

from __future__ import annotations

import pytest

from skerry.hub.frontdoor import DoorSettings
from skerry.hub.open_files import OWN_FILES, door_settings


def test_where_files_abound_the_door_is_as_usual(caplog: pytest.LogCaptureFixture) -> None:
    assert door_settings("::1", 6443, files=16384) == DoorSettings("::1", 6443)
    assert not caplog.records


@pytest.mark.parametrize("files", [1024, 2048, 4096])
def test_connections_never_take_the_hubs_own_files_and_it_is_said_what_to_do(files: int, caplog: pytest.LogCaptureFixture) -> None:
    found = door_settings("::1", 6443, files=files)

    assert found.max_connections + found.max_handshakes <= files - OWN_FILES
    assert found.max_strangers < found.max_connections // 2
    assert "LimitNOFILE" in caplog.text
