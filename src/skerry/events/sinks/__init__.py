"""Where events go besides the hub: HTTP subscribers."""

from __future__ import annotations

from skerry.events.sinks.http import HttpSender, NotAllowedError, UnsendableError

__all__ = ["HttpSender", "NotAllowedError", "UnsendableError"]
