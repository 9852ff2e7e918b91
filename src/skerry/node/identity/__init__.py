"""Who this node is: its state folder, its key and certificate, and how it joins its hub."""

from __future__ import annotations

from skerry.node.identity.folder import Identity, IdentityError, StateFolder
from skerry.node.identity.settings import NodeSettings

__all__ = ["Identity", "IdentityError", "NodeSettings", "StateFolder"]
