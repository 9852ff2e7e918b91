"""Events under `events.k8s.io/v1`: a view of the core Events, which alone are stored. Fields go by other names, nothing is lost.

Source: k8s.io/kubernetes/pkg/apis/events/v1/conversion.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from skerry.apiserver.registry.encoding import Encoding
from skerry.apiserver.registry.view import View
from skerry.apiserver.schema import KindSchema
from skerry.model.objects import Object

_NAMES: Mapping[str, str] = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_BACK = {new: old for old, new in _NAMES.items()}


def event_view(core: Callable[[], KindSchema]) -> View:
    """Return how Events of the newer group are shown and kept."""
    kept, shown = Encoding("v1", "Event"), Encoding("events.k8s.io/v1", "Event")
    return View(kept, shown, core, forth=partial(_renamed, _NAMES), back=partial(_renamed, _BACK), field=_field)


def _field(path: str) -> str:
    head, dot, rest = path.partition(".")
    return _BACK.get(head, head) + dot + rest


def _renamed(names: Mapping[str, str], obj: Object) -> Object:
    """Return the same Event under the other group's names. Pure."""
    return {names.get(key, key): value for key, value in obj.items()}
