"""HorizontalPodAutoscalers under `autoscaling/v1`: a view of those of v2, which alone are stored."""

from __future__ import annotations

from collections.abc import Callable

from skerry.apiserver.registry.encoding import Encoding, decode
from skerry.apiserver.schema import KindSchema
from skerry.apiserver.schema.autoscalers import V1, V2, UnreadableError, as_v1, as_v2
from skerry.model.errors import bad_request
from skerry.model.objects import Object

_KIND = "HorizontalPodAutoscaler"
KEPT, VIEW = Encoding(V2, _KIND), Encoding(V1, _KIND)


class AutoscalerView:
    """How autoscalers of the older version are shown and kept."""

    def __init__(self, kept: Callable[[], KindSchema]) -> None:
        self._kept = kept

    @staticmethod
    def shown(value: bytes) -> bytes:
        """Return a stored autoscaler as the older version has it."""
        if VIEW.fits(value):  # stored before there was a view
            return value
        obj = as_v1(decode(value))
        return VIEW.at(VIEW.tail(obj), int(obj["metadata"]["resourceVersion"]))

    @staticmethod
    def turned(obj: Object, api_version: str) -> Object:
        """Return an autoscaler in the form of *api_version*, which is one of the two and not its own; ApiError 400. Pure."""
        try:
            return as_v1(obj) if api_version == V1 else as_v2(obj)
        except UnreadableError as error:
            raise bad_request(f"an annotation cannot be read: {error}") from None

    def later(self, tail: bytes) -> Callable[[int], bytes]:
        """Return what the store calls once it knows the revision, of a tail in the older form."""
        obj = self.turned(decode(VIEW.at(tail, 0)), V2)
        self._kept().prune_unknown(obj)
        self._kept().default(obj)
        return KEPT.later(KEPT.tail(obj))

    @staticmethod
    def field(path: str) -> str:
        """Return the name under which a field label was indexed."""
        return path
