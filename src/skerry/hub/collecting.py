"""Python's collector of cycles, as a hub needs it.

A hub keeps hundreds of thousands of small objects for ever (every stored object is some) and makes nearly no cycles. By default the
collector looks at all of them again whenever a quarter as many are new: 60 ms in which nobody is answered with 10,000 objects, and a tenth
of the CPU of a write. What there is once the hub is ready is therefore never looked at again, and what comes later rarely.
"""

from __future__ import annotations

import gc

YOUNG = 20_000
"""New objects, less those that have gone, before the collector looks at them; 700 is Python's default."""
OLDER = 20
"""How many looks at the young before one at those that stayed, and of those before one at all."""


def pause() -> None:
    """Collect nothing while the hub starts: what is made then stays."""
    gc.disable()


def settle() -> None:
    """Set aside all that there is, and collect from now on what comes later."""
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
    gc.enable()
