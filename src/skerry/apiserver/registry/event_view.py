"""Events under `events.k8s.io/v1`: a view of the core Events, which alone are stored. Fields go by other names, nothing is lost.

Source: k8s.io/kubernetes/pkg/apis/events/v1/conversion.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from skerry.apiserver.registry.encoding import Encoding, decode
from skerry.apiserver.schema import KindSchema
from skerry.model.objects import Object

CORE = Encoding("v1", "Event")
VIEW = Encoding("events.k8s.io/v1", "Event")
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


class EventView:
    """How Events of the newer group are shown and kept."""

    def __init__(self, core: Callable[[], KindSchema]) -> None:
        self._core = core

    @staticmethod
    def shown(value: bytes) -> bytes:
        """Return a stored Event as the newer group has it."""
        obj = decode(value)
        return VIEW.at(VIEW.tail(renamed(obj, _NAMES)), int(obj["metadata"]["resourceVersion"]))

    @staticmethod
    def turned(obj: Object, api_version: str) -> Object:
        """Return an Event in the form of *api_version*, which is one of the two and not its own. Pure."""
        return {**renamed(obj, _NAMES if api_version == VIEW.api_version else _BACK), "apiVersion": api_version}

    def later(self, tail: bytes) -> Callable[[int], bytes]:
        """Return what the store calls once it knows the revision, of a tail in the newer form."""
        obj = renamed(decode(VIEW.at(tail, 0)), _BACK)
        obj["apiVersion"] = "v1"
        self._core().prune_unknown(obj)  # gives the fields that core Events always show
        return CORE.later(CORE.tail(obj))

    @staticmethod
    def field(path: str) -> str:
        """Return the name under which a field label was indexed."""
        head, dot, rest = path.partition(".")
        return _BACK.get(head, head) + dot + rest


def renamed(obj: Object, names: Mapping[str, str]) -> Object:
    """Return the same Event under the other group's names. Pure."""
    return {names.get(key, key): value for key, value in obj.items()}
