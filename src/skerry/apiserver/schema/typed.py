"""Built-in kinds: an object in the form in which Kubernetes' Go types would give it back.

One pass in place, compiled from the published definitions: unknown fields are dropped and reported, JSON types are checked,
nulls and Go's zero values of `omitempty` fields are left out, structs and fields that Go always writes are filled in,
quantities and times are canonical. Two bodies that mean the same (JSON, YAML, protobuf) therefore become the same object,
which is what the no-op rule of updates compares. Applying it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skerry.apiserver.schema import scalars
from skerry.apiserver.schema.facts import Facts, reference
from skerry.apiserver.schema.paths import Path, fields_only
from skerry.apiserver.schema.scalars import OMIT, MismatchError, Normalise, json_type

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"

_SPECIAL: dict[str, Normalise] = {
    f"{_META}Time": scalars.time,
    f"{_META}MicroTime": scalars.micro_time,
    f"{_META}FieldsV1": scalars.any_object,
    f"{_META}Patch": scalars.any_object,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": scalars.anything,
    f"{_CRD}JSON": scalars.anything,
    _QUANTITY: scalars.quantity_value,
    _INT_OR_STRING: scalars.int_or_string,
}
_CRD_POINTERS = frozenset(("x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-map-type"))
"""Pointers of JSONSchemaProps whose JSON names are not those on the wire."""
_TIMES = (f"{_META}Time", f"{_META}MicroTime")
_NEVER_NULL = ("creationTimestamp",)
"""1.32 writes null here inside templates, newer releases leave it out: so do we."""


class Typed:
    """Compiles definitions on first use and keeps what it compiled; recursive definitions are fine."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._structs: dict[str, Normalise] = {}

    def normaliser(self, definition: str) -> Normalise:
        """Return the function for one definition; raises KeyError for an unknown one."""
        special = _SPECIAL.get(definition)
        if special is not None:
            return special
        found = self._structs.get(definition)
        if found is None:
            self._structs[definition] = lambda *a: self._structs[definition](*a)  # for definitions that contain themselves
            found = self._structs[definition] = self._compile(definition)
        return found

    def _compile(self, definition: str) -> Normalise:
        if definition.startswith(f"{_CRD}JSONSchemaPropsOr"):
            return _either(self.normaliser(f"{_CRD}JSONSchemaProps"))
        schema = self._facts.definition(definition)
        flags = self._facts.flags(definition)
        required = frozenset(schema.get("required", ()))
        fields: dict[str, Normalise] = {}
        fills: list[tuple[str, Callable[[], Any]]] = []
        for name, prop in schema.get("properties", {}).items():
            flag = "P" if name in required or name in _CRD_POINTERS else flags.get(name, "")
            field = self._field(prop, kept="P" in flag)
            fields[name] = field
            fill = _fill(name, prop, flag, field)
            if fill is not None:
                fills.append((name, fill))
        return _struct(_go_name(definition), fields, fills)

    def _field(self, prop: dict[str, Any], *, kept: bool) -> Normalise:
        ref = reference(prop)
        if ref:
            return self.normaliser(ref)
        match prop.get("type"):
            case "string":
                if prop.get("format") == "byte":
                    return scalars.base64_bytes
                return scalars.string_kept if kept else scalars.string
            case "boolean":
                return scalars.boolean_kept if kept else scalars.boolean
            case "integer":
                return scalars.INTEGERS[prop.get("format", "int64"), kept]
            case "number":
                return scalars.number
            case "array":
                return _list(self._field(prop["items"], kept=True), _element_name(prop["items"]), kept=kept)
            case "object" if "additionalProperties" in prop:
                return self._map(prop["additionalProperties"])
        return scalars.anything

    def _map(self, value: dict[str, Any]) -> Normalise:
        if reference(value) == _QUANTITY:
            return _map(scalars.resource_quantity, "resource.Quantity", null="0")
        if value.get("type") == "string" and value.get("format") != "byte":
            return _string_map
        return _map(self._field(value, kept=True), _element_name(value), null="" if value.get("type") == "string" else None)


def _fill(name: str, prop: dict[str, Any], flag: str, field: Normalise) -> Callable[[], Any] | None:
    """Return what Go writes for a field that is absent, or None when it writes nothing."""
    ref = reference(prop)
    if ref in _TIMES:
        return None if "P" in flag or name in _NEVER_NULL else lambda: None
    if ref == _QUANTITY:
        return None if "P" in flag else lambda: "0"
    if prop.get("default") == {} and ref:
        return lambda: field({}, None, name, [])
    if prop.get("type") == "array" and "P" in flag:
        return lambda: None
    default = prop.get("default")
    if "P" in flag and default in ("", 0, False) and not isinstance(default, (dict, list)):
        return lambda: default
    return None


def _struct(name: str, fields: dict[str, Normalise], fills: list[tuple[str, Callable[[], Any]]]) -> Normalise:
    find = fields.get
    short = name.rpartition(".")[2]

    def struct(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
        if value.__class__ is not dict:
            raise MismatchError(json_type(value), name)
        here = (path, key) if key is not None else None
        dropped = []
        k = ""
        try:
            for k, v in value.items():
                field = find(k)
                if field is None:
                    unknown.append((here, k))
                    dropped.append(k)
                elif v is None:
                    dropped.append(k)
                else:
                    kept = field(v, here, k, unknown)
                    if kept is OMIT:
                        dropped.append(k)
                    elif kept is not v:
                        value[k] = kept
        except MismatchError as error:
            if not error.struct:
                error.struct, error.field = short, fields_only((here, k))
            raise
        for k in dropped:
            del value[k]
        for k, fill in fills:
            if k not in value:
                value[k] = fill()
        return value

    return struct


def _list(element: Normalise, element_name: str, *, kept: bool) -> Normalise:
    name = f"[]{element_name}"
    is_struct = element_name.startswith("v")

    def array(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
        if value.__class__ is not list:
            raise MismatchError(json_type(value), name)
        if not value:
            return None if kept else OMIT
        here = (path, key)
        for i, v in enumerate(value):
            if v is None:
                v = {} if is_struct else ""
            found = element(v, here, i, unknown)
            if found is not value[i]:
                value[i] = found
        return value

    return array


def _map(element: Normalise, element_name: str, *, null: Any) -> Normalise:
    name = f"map[string]{element_name}"

    def mapping(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
        if value.__class__ is not dict:
            raise MismatchError(json_type(value), name)
        if not value:
            return OMIT
        here = (path, key)
        for k, v in value.items():
            if v is None:
                value[k] = null
                continue
            found = element(v, here, k, unknown)
            if found is not v:
                value[k] = found
        return value

    return mapping


def _string_map(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    if value.__class__ is not dict:
        raise MismatchError(json_type(value), "map[string]string")
    if not value:
        return OMIT
    for k, v in value.items():
        if v.__class__ is not str:
            if v is not None:
                raise MismatchError(json_type(v), "string")
            value[k] = ""
    return value


def _either(schema: Normalise) -> Normalise:
    """JSONSchemaPropsOrBool, OrArray, OrStringArray: a schema, or lists of schemas or strings, or a boolean."""

    def either(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
        if value.__class__ is dict:
            return schema(value, path, key, unknown)
        if value.__class__ is list:
            for i, v in enumerate(value):
                if v.__class__ is dict:
                    schema(v, (path, key), i, unknown)
        return value

    return either


def _go_name(definition: str) -> str:
    package, _, name = definition.rpartition(".")
    return f"{package.rpartition('.')[2]}.{name}"


def _element_name(prop: dict[str, Any]) -> str:
    ref = reference(prop)
    if ref:
        return _go_name(ref)
    match prop.get("type"):
        case "integer":
            return str(prop.get("format", "int64"))
        case "boolean":
            return "bool"
        case "string" if prop.get("format") == "byte":
            return "[]uint8"
    return "string"
