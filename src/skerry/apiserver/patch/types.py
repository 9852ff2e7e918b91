"""Types as server-side apply sees them: what is one value, which maps and lists have owners inside, by which keys.

Compiled from a kind's shape when a walk first reaches them, and kept with the kind. Rules of kube-openapi's schemaconv:
lists are atomic unless they say otherwise; an object that names no properties may hold anything; what a schema preserves
although it does not know it is deduced from the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from skerry.apiserver.patch.fields import key_step, value_step
from skerry.apiserver.schema.facts import reference
from skerry.apiserver.schema.shape import Shape

_PLAIN: dict[str, frozenset[type]] = {
    "": frozenset(),
    "string": frozenset((str,)),
    "numeric": frozenset((int, float)),
    "boolean": frozenset((bool,)),
    "untyped": frozenset((str, int, float, bool)),
}
ListKind = Literal["", "atomic", "set", "map"]
Make = Callable[[], "Type"]


class NoKeyError(ValueError):
    """An element of a list that cannot be told from others."""


class Type:
    """One type: what it may be (a scalar, a list, a map: several when it is deduced), and how to go on to its parts."""

    __slots__ = ("_fields", "_make", "_values", "atomic_map", "defaults", "is_map", "keys", "list_kind", "plain", "scalar")

    def __init__(
        self,
        *,
        scalar: str = "",
        list_kind: ListKind = "",
        keys: tuple[str, ...] = (),
        defaults: Mapping[str, Any] | None = None,
        is_map: bool = False,
        atomic_map: bool = False,
        make: Mapping[str, Make] | None = None,
        values: Make | None = None,
    ) -> None:
        self.scalar = scalar
        self.plain = _PLAIN[scalar]  # the classes of values that are scalars of this type: nothing more need be asked of them
        self.list_kind: ListKind = list_kind
        self.keys = keys
        self.defaults = defaults or {}
        self.is_map, self.atomic_map = is_map, atomic_map
        self._fields: dict[str, Type] = {}
        self._make = make or {}
        self._values: Make | Type | None = values

    def field(self, name: str) -> Type | None:
        """Return the type of a field, named or not; None where the schema does not have it."""
        found = self._fields.get(name)
        if found is None:
            make = self._make.get(name)
            if make is None:
                return self.values
            found = self._fields[name] = make()
        return found

    def names(self, name: str) -> bool:
        """Say whether the schema names the field (a struct's), as against a key of a map."""
        return name in self._make

    @property
    def values(self) -> Type | None:
        """Return the type of a list's elements, or of the values of a map's other keys."""
        found = self._values
        if found is None or isinstance(found, Type):
            return found
        made = self._values = found()
        return made

    def kind_of(self, value: Any) -> str:
        """Return `map`, `list` or `scalar`: how *value* is treated; what does not fit is treated as the type would be."""
        if value.__class__ is dict:
            if self.is_map:
                return "map"
        elif value.__class__ is list:
            if self.list_kind:
                return "list"
        elif value is not None and self.scalar:
            return "scalar"
        return "map" if self.is_map else "scalar" if self.scalar else "list"

    def step(self, element: Any) -> str:
        """Return the step to an element of this associative list; NoKeyError saying why there is none."""
        if self.list_kind == "map":
            return self._key(element)
        if element.__class__ is dict:
            raise NoKeyError("associative list without keys has an element that's a map type")
        if element.__class__ is list:
            raise NoKeyError("not supported: associative list with lists as elements")
        if element is None:
            raise NoKeyError("associative list without keys has an element that's an explicit null")
        return value_step(element)

    def _key(self, element: Any) -> str:
        if element is None:
            raise NoKeyError("associative list with keys may not have a null element")
        if element.__class__ is not dict:
            raise NoKeyError("associative list with keys may not have non-map elements")
        keys = {}
        for name in self.keys:
            if name in element:
                keys[name] = element[name]
            elif name in self.defaults:
                keys[name] = self.defaults[name]
            else:
                raise NoKeyError(
                    f'associative list with keys has an element that omits key field "{name}" (and doesn\'t have default value)'
                )
        return key_step(keys)


ATOMIC = Type(scalar="untyped", list_kind="atomic", is_map=True, atomic_map=True)
ATOMIC._values = ATOMIC
DEDUCED = Type(scalar="untyped", list_kind="atomic", is_map=True)
DEDUCED._values = DEDUCED
_UNTYPED = Type(scalar="untyped")
_SCALARS = {
    "string": Type(scalar="string"),
    "boolean": Type(scalar="boolean"),
    "integer": Type(scalar="numeric"),
    "number": Type(scalar="numeric"),
}
_FORMATS_OF_ANY = frozenset(("int-or-string", "date-time", "byte", "quantity"))
_SCALAR_DEFINITIONS = (".Quantity", ".IntOrString", ".Time", ".MicroTime")


def type_of(shape: Shape, *, metadata: Shape | None = None) -> Type:
    """Return the type of whole objects; *metadata* is ObjectMeta's shape for a custom kind, whose schema does not have it."""
    if metadata is None:
        return _Compiler(shape, None).type(shape.schema, {}, preserve=False)
    meta = _Compiler(metadata, None).type(metadata.schema, {}, preserve=False)
    return _Compiler(shape, meta).type(shape.schema, {}, preserve=False, whole=True)


class _Compiler:
    """Compiles the types of one kind; definitions are compiled once."""

    def __init__(self, shape: Shape, metadata: Type | None) -> None:
        self._resolve, self._metadata = shape.resolve, metadata
        self._known: dict[tuple[str, str], Type] = {}

    def at(self, prop: Mapping[str, Any], *, preserve: bool) -> Type:
        """Return the type of a property; for a reference the rules stand beside it."""
        ref = reference(dict(prop))
        if not ref:
            return self.type(prop, prop, preserve=preserve)
        if ref.endswith(_SCALAR_DEFINITIONS):
            return _UNTYPED
        override = str(prop.get("x-kubernetes-map-type", ""))
        found = self._known.get((ref, override))
        if found is None:
            found = self._known[ref, override] = self.type(self._resolve(ref), prop, preserve=False)
        return found

    def type(self, schema: Mapping[str, Any], rules: Mapping[str, Any], *, preserve: bool, whole: bool = False) -> Type:
        """Return the type of a schema; *whole* when objects of a custom kind, metadata and all, are meant."""
        preserve = preserve or bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        kind = schema.get("type") or ""
        if schema.get("x-kubernetes-int-or-string") or schema.get("format") in _FORMATS_OF_ANY:
            return _UNTYPED
        if kind in _SCALARS:
            return _SCALARS[kind]
        if kind == "array":
            return self._list(schema, rules, preserve=preserve)
        whole = whole or bool(schema.get("x-kubernetes-embedded-resource"))
        found = self._map(schema, rules, preserve=preserve, whole=whole)
        if not kind:
            found.scalar, found.list_kind = "untyped", "atomic"
        return found

    def _list(self, schema: Mapping[str, Any], rules: Mapping[str, Any], *, preserve: bool) -> Type:
        items = schema.get("items") or {}
        list_kind, keys = _list_rules({**schema, **rules})
        defaults = {k: d for k in keys if (d := self._default(items, k)) is not None}
        return Type(list_kind=list_kind, keys=keys, defaults=defaults, values=partial(self.at, items, preserve=preserve))

    def _default(self, items: Mapping[str, Any], key: str) -> Any:
        ref = reference(dict(items))
        schema = self._resolve(ref) if ref else items
        return (schema.get("properties", {}).get(key) or {}).get("default")

    def _map(self, schema: Mapping[str, Any], rules: Mapping[str, Any], *, preserve: bool, whole: bool) -> Type:
        properties = schema.get("properties") or {}
        make: dict[str, Make] = {k: partial(self.at, p, preserve=preserve) for k, p in properties.items()}
        if whole:
            meta = self._metadata or DEDUCED
            make |= {"apiVersion": lambda: _SCALARS["string"], "kind": lambda: _SCALARS["string"], "metadata": lambda: meta}
        extra = schema.get("additionalProperties")
        values: Make | None = None
        if isinstance(extra, Mapping):
            values = partial(self.at, extra, preserve=preserve)
        elif extra or (extra is None and (preserve or not properties)):
            values = lambda: DEDUCED  # noqa: E731
        atomic = rules.get("x-kubernetes-map-type", schema.get("x-kubernetes-map-type")) == "atomic"
        return Type(is_map=True, atomic_map=atomic, make=make, values=values)


def _list_rules(rules: Mapping[str, Any]) -> tuple[ListKind, tuple[str, ...]]:
    declared = rules.get("x-kubernetes-list-type")
    if declared == "map":
        return "map", tuple(sorted(rules.get("x-kubernetes-list-map-keys") or ()))
    if declared:
        return ("set" if declared == "set" else "atomic"), ()
    if "merge" in str(rules.get("x-kubernetes-patch-strategy", "")).split(","):
        key = rules.get("x-kubernetes-patch-merge-key")
        return ("map", (key,)) if key else ("set", ())
    return "atomic", ()
