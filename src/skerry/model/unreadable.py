"""What reading somebody else's JSON can raise, whoever that is: a sender, a device, a disk with a flipped bit."""

from __future__ import annotations

import msgspec

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""msgspec's own error (of the wrong shape, too), its error for texts that are not UTF-8, and that for what is nested too deeply."""
