"""A custom kind with every sort of list and map, and managers that apply to one object of it."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.patch import Applied, Entry, Type, Writer, apply, configured, type_of, updated
from skerry.apiserver.schema.builtin import OBJECT_META
from skerry.apiserver.schema.facts import FACTS
from skerry.apiserver.schema.shape import shape_of_definition, shape_of_schema
from skerry.model.objects import Object

VERSION = "test.example.com/v1"
TEXT = {"type": "string"}
SPEC: Object = {
    "type": "object",
    "properties": {
        "a": TEXT,
        "b": TEXT,
        "n": {"type": "object", "properties": {"x": TEXT, "y": {"type": "integer"}}},
        "labels": {"type": "object", "additionalProperties": TEXT},
        "atom": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": TEXT},
        "plain": {"type": "array", "items": TEXT},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
        "items": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id", "zone"],
            "items": {
                "type": "object",
                "properties": {"id": {"type": "integer"}, "zone": {"type": "string", "default": "z"}, "v": TEXT, "w": TEXT},
            },
        },
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "either": {"x-kubernetes-int-or-string": True},
    },
}
SCHEMA: Object = {"type": "object", "properties": {"spec": SPEC, "status": {"type": "object", "properties": {"phase": TEXT, "n": TEXT}}}}
TYPE = type_of(shape_of_schema(SCHEMA), metadata=shape_of_definition(FACTS, OBJECT_META))
EMPTY: Object = {}


def types(api_version: str) -> Type | None:
    return TYPE if api_version == VERSION else None


def config(**spec: Any) -> Object:
    found: Object = {"apiVersion": VERSION, "kind": "Thing", "metadata": {"name": "t"}}
    return {**found, "spec": spec} if spec else found  # an empty map is a field of its own


class Stored:
    """One object that many managers write."""

    def __init__(self) -> None:
        self.obj: Object = EMPTY
        self.entries: list[Entry] = []
        self.seconds = 0

    def writer(self, manager: str, subresource: str = "") -> Writer:
        self.seconds += 1
        return Writer(manager, VERSION, f"2026-01-01T00:{self.seconds // 60:02}:{self.seconds % 60:02}Z", subresource)

    def apply(self, manager: str, wanted: Object, *, force: bool = False, keep: bool = True) -> Applied:
        found = apply(self.obj, configured(wanted, TYPE), self.entries, self.writer(manager), types, empty=EMPTY, force=force)
        if keep:
            self.obj, self.entries = found.obj, found.entries
        return found

    def update(self, manager: str, new: Object) -> None:
        if self.entries or self.obj is EMPTY:
            self.entries = updated(self.entries, self.writer(manager), self.obj, new, types)
        self.obj = new

    @property
    def spec(self) -> Any:
        return self.obj.get("spec")

    def fields(self, manager: str, operation: str = "Apply") -> Any:
        """Return the manager's fields, or None."""
        return next((e["fieldsV1"] for e in self.entries if e["manager"] == manager and e["operation"] == operation), None)
