"""What every Pod's worker is given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from skerry.node.pods.env import Lookup, NodeFacts
from skerry.node.pods.recorder import EventRecorder
from skerry.node.pods.reporter import StatusReporter
from skerry.node.pods.tokens import PodTokens
from skerry.node.pods.volumes import VolumeRoom
from skerry.node.runtimes.contract import Runtime


class PodTools(msgspec.Struct, frozen=True):
    """What every worker shares."""

    runtime: Runtime
    volumes: VolumeRoom
    recorder: EventRecorder
    reporter: StatusReporter
    node: Callable[[], NodeFacts]
    lookup: Callable[[str], Lookup]
    tokens: PodTokens | None = None
    allow_unenforced: bool = False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
