"""The built-in kinds as the registry serves them: Kubernetes' discovery, with the few facts that discovery does not state."""

from __future__ import annotations

from functools import partial

from skerry.apiserver.registry.autoscaler_view import autoscaler_view
from skerry.apiserver.registry.event_view import event_view
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.kinds import Kinds
from skerry.apiserver.registry.strategy import CREATE_ON_UPDATE, NO_GENERATION
from skerry.apiserver.registry.view import View
from skerry.apiserver.schema import Catalogue, ServedResource

_EVENTS = "events.events.k8s.io"
_AUTOSCALERS = "horizontalpodautoscalers.autoscaling"


def serve_builtins(kinds: Kinds, catalogue: Catalogue) -> None:
    """Add every built-in kind; a kind under several versions keeps its objects in the first one that is no view of another."""
    for served in catalogue.resources():
        kind = _kind(catalogue, served)
        kinds.add(kind, storage=kind.view is None and kinds.storage(served.key) is None)


def _kind(catalogue: Catalogue, served: ServedResource) -> Kind:
    return Kind(
        served,
        partial(catalogue.kind, served.group, served.version, served.kind),
        view=_view(catalogue, served),
        kept_as="events" if served.key == _EVENTS else "",
        has_generation=served.key not in NO_GENERATION and "get" in served.verbs,
        create_on_update=served.key in CREATE_ON_UPDATE,
    )


def _view(catalogue: Catalogue, served: ServedResource) -> View | None:
    if served.key == _EVENTS:
        return event_view(partial(catalogue.kind, "", "v1", "Event"))
    if served.key == _AUTOSCALERS and served.version == "v1":
        return autoscaler_view(partial(catalogue.kind, "autoscaling", "v2", "HorizontalPodAutoscaler"))
    return None
