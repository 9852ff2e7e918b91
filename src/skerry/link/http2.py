"""h2's connection with the memory that a thousand of them may take.

What stays true: what comes late on a stream that was reset is answered as h2 answers it; on one that ended well late data and resets
break nothing and headers break the protocol, whether it is remembered or not, so it is not remembered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import h2.config
import h2.connection
import h2.settings
from h2.stream import StreamClosedBy
from h2.utilities import SizeLimitDict

MAX_RESETS_KEPT = 512
"""Streams that were reset and may still be spoken of by what is under way. Of all that ended, 512 take 70 KiB, a node's hour and a half."""
_BY_RESET = (StreamClosedBy.RECV_RST_STREAM, StreamClosedBy.SEND_RST_STREAM)


class _Resets(SizeLimitDict):
    """How streams were closed, of those that were reset."""

    def __setitem__(self, stream: int, closed_by: Any) -> None:
        if closed_by in _BY_RESET:
            super().__setitem__(stream, closed_by)


class _Values(list[int]):
    """The values of one setting, the current one first: two at most, for which a deque takes 600 bytes."""

    __slots__ = ()

    def popleft(self) -> int:
        return self.pop(0)


class Settings(h2.settings.Settings):
    """One end's settings."""

    def __init__(self, *, client: bool, initial_values: Mapping[h2.settings.SettingCodes, int] | None = None) -> None:
        super().__init__(client, dict(initial_values or {}))
        self._settings = {code: cast("deque[int]", _Values(values)) for code, values in self._settings.items()}


class Connection(h2.connection.H2Connection):
    """One end of a connection."""

    def __init__(self, config: h2.config.H2Configuration) -> None:
        super().__init__(config)
        self._closed_streams = _Resets(size_limit=MAX_RESETS_KEPT)
        self.remote_settings = Settings(client=not config.client_side)
