"""The node's Pods: a pure plan from what is wanted and what runs to steps, and the workers that take them."""

from __future__ import annotations

from skerry.node.pods.env import NodeFacts
from skerry.node.pods.reconciler import PodReconciler
from skerry.node.pods.recorder import EventRecorder
from skerry.node.pods.references import References
from skerry.node.pods.reporter import StatusReporter
from skerry.node.pods.tokens import PodTokens
from skerry.node.pods.tools import PodTools
from skerry.node.pods.volumes import VolumeRoom, memory_folder

__all__ = [
    "EventRecorder",
    "NodeFacts",
    "PodReconciler",
    "PodTokens",
    "PodTools",
    "References",
    "StatusReporter",
    "VolumeRoom",
    "memory_folder",
]
