"""Which controllers there are beside those of workloads: what a Kubernetes cluster brings around them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from skerry.controllers.informers import Informers
from skerry.kube import Api

Run = Callable[[], Coroutine[Any, Any, None]]


def cluster_runs(api: Api, informers: Informers, now: Callable[[], datetime]) -> dict[str, Run]:
    """Return what is to be run, by name."""
    from skerry.controllers.disruption.budgets import Budgets
    from skerry.controllers.evictions.evictions import Evictions
    from skerry.controllers.network.endpoints import Endpoints
    from skerry.controllers.volumes.binder import VolumeBinder

    return {
        "endpoints": Endpoints(api, informers).controller.run,
        "disruption": Budgets(api, informers, now).controller.run,
        "evictions": Evictions(api, informers, now).run,
        "volumes": VolumeBinder(api, informers, now).controller.run,
    }
