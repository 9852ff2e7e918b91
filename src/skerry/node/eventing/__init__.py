"""Events on the node: the outbox's way to the hub, and Triggers that run where the data is."""

from __future__ import annotations

from skerry.node.eventing.subsystem import EventingSubsystem, Watched
from skerry.node.eventing.uploader import HubTransport, Uploader, UploadSettings

__all__ = ["EventingSubsystem", "HubTransport", "UploadSettings", "Uploader", "Watched"]
