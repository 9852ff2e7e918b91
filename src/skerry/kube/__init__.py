"""The one way to talk to a Kubernetes API: the `Api` contract, its HTTP form, and what controllers are made of.

`HttpApi` speaks JSON over any `Transport` (a node's link, or `kube.aio` for a kubeconfig). `Informer` keeps a
collection at hand, `WorkQueue` says what to look at next, `Controller` looks at it. Nothing here imports an HTTP library;
`kube.aio` and `kube.kubeconfig` do, and are imported by the hub and the command line only.
"""

from __future__ import annotations

from skerry.kube.api import (
    Api,
    ClusterApi,
    Discovery,
    ObjectList,
    Origin,
    PatchType,
    Propagation,
    Served,
    Transport,
    TransportResponse,
    WatchEvent,
)
from skerry.kube.closing import closing
from skerry.kube.http import HttpApi

__all__ = [
    "Api",
    "ClusterApi",
    "Discovery",
    "HttpApi",
    "ObjectList",
    "Origin",
    "PatchType",
    "Propagation",
    "Served",
    "Transport",
    "TransportResponse",
    "WatchEvent",
    "closing",
]
