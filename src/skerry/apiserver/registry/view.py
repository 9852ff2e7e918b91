"""Objects that are kept as another version's or group's: one way to show them, and one to keep them."""

from __future__ import annotations

from collections.abc import Callable

from skerry.apiserver.registry.encoding import Encoding, decode
from skerry.apiserver.schema import KindSchema
from skerry.model.objects import Object

Turn = Callable[[Object], Object]


class View:
    """`Encoding`'s part of a kind whose objects are kept as those of another.

    *forth* turns a kept object into a shown one, *back* a shown one into what is kept; *schema* is the kept kind's.
    """

    def __init__(
        self,
        kept: Encoding,
        shown: Encoding,
        schema: Callable[[], KindSchema],
        *,
        forth: Turn,
        back: Turn,
        field: Callable[[str], str] = str,
    ) -> None:
        self._kept, self._shown, self._schema, self._forth, self._back = kept, shown, schema, forth, back
        self.field = field
        """Returns the name under which a field label of the view was indexed."""

    def shown(self, value: bytes) -> bytes:
        """Return a stored object as the view has it."""
        if self._shown.fits(value):  # stored before there was a view
            return value
        obj = self._forth(decode(value))
        return self._shown.at(self._shown.tail(obj), int(obj["metadata"]["resourceVersion"]))

    def turned(self, obj: Object, api_version: str) -> Object:
        """Return an object in the form of *api_version*, which is one of the two and not its own; ApiError when it cannot be. Pure."""
        turn = self._forth if api_version == self._shown.api_version else self._back
        return {**turn(obj), "apiVersion": api_version}

    def later(self, tail: bytes) -> Callable[[int], bytes]:
        """Return what the store calls once it knows the revision, of a tail in the form of the view."""
        obj = self.turned(decode(self._shown.at(tail, 0)), self._kept.api_version)
        schema = self._schema()
        schema.prune_unknown(obj)  # gives the fields that the kept kind always shows
        schema.default(obj)
        return self._kept.later(self._kept.tail(obj))
