"""What the node was told, kept on its disk: it starts from it and acts on it with no hub in sight."""

from __future__ import annotations

from skerry.node.memory.memory import Memory
from skerry.node.memory.mirror import Mirror, mirror_key
from skerry.node.memory.rule import Changes, Position, Trust, changes_of_event, changes_of_list, trust_in

__all__ = ["Changes", "Memory", "Mirror", "Position", "Trust", "changes_of_event", "changes_of_list", "mirror_key", "trust_in"]
