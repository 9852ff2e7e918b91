"""The node's one connection to its hub: API calls, watches, event batches and streams all go through `HubLink`."""

from __future__ import annotations

from skerry.node.connection.answering import AnsweringStream
from skerry.node.connection.hub_link import Handler, HubLink, HubOfflineError

__all__ = ["AnsweringStream", "Handler", "HubLink", "HubOfflineError"]
