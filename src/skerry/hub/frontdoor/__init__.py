"""The hub's one listener: ends TLS, knows nodes by their keys, and hands each connection to the link or to HTTP/1.1."""

from __future__ import annotations

from skerry.hub.frontdoor.door import Door, DoorSettings, user_by_certificate
from skerry.hub.frontdoor.roster import Roster
from skerry.hub.frontdoor.sessions import Sessions

__all__ = ["Door", "DoorSettings", "Roster", "Sessions", "user_by_certificate"]
