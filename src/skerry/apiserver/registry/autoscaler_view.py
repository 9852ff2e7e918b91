"""HorizontalPodAutoscalers under `autoscaling/v1`: a view of those of v2, which alone are stored."""

from __future__ import annotations

from collections.abc import Callable

from skerry.apiserver.registry.encoding import Encoding
from skerry.apiserver.registry.view import View
from skerry.apiserver.schema import KindSchema
from skerry.apiserver.schema.autoscalers import V1, V2, UnreadableError, as_v1, as_v2
from skerry.model.errors import bad_request
from skerry.model.objects import Object

_KIND = "HorizontalPodAutoscaler"


def autoscaler_view(newer: Callable[[], KindSchema]) -> View:
    """Return how autoscalers of the older version are shown and kept."""
    return View(Encoding(V2, _KIND), Encoding(V1, _KIND), newer, forth=as_v1, back=_as_v2)


def _as_v2(obj: Object) -> Object:
    try:
        return as_v2(obj)
    except UnreadableError as error:
        raise bad_request(f"an annotation cannot be read: {error}") from None
