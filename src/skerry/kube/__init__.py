"""The one way to talk to a Kubernetes API: the `Api` contract, its HTTP form, and what controllers are made of.

`HttpApi` speaks JSON over any `Transport` (a node's link, or `kube.aio` for a kubeconfig). `Informer` keeps a
collection at hand, `WorkQueue` says what to look at next, `Controller` looks at it. Nothing here imports an HTTP library;
`kube.aio` and `kube.kubeconfig` do, and are imported by the hub and the command line only. What controllers are made of is
loaded when it is asked for: a node has none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from skerry.kube.backoff import Backoff
from skerry.kube.closing import closing
from skerry.kube.http import HttpApi

if TYPE_CHECKING:
    from skerry.kube.cache import Change
    from skerry.kube.controller import Controller
    from skerry.kube.informer import Informer
    from skerry.kube.queue import WorkQueue

_HOMES = {"Change": "cache", "Controller": "controller", "Informer": "informer", "WorkQueue": "queue"}

__all__ = [
    "Api",
    "Backoff",
    "Change",
    "ClusterApi",
    "Controller",
    "Discovery",
    "HttpApi",
    "Informer",
    "ObjectList",
    "Origin",
    "PatchType",
    "Propagation",
    "Served",
    "Transport",
    "TransportResponse",
    "WatchEvent",
    "WorkQueue",
    "closing",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
