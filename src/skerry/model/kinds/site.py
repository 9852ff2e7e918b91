"""Site: a place with nodes in it. Nodes are members by the label `skerry.dev/site`, which only the hub sets.

`longestOutage` is the outage that the place is built for: as long as a node is cut off for less, nothing of it is replaced.
"""

from __future__ import annotations

from typing import Any

from skerry.model.errors import Cause, invalid_value
from skerry.model.kinds.definition import Column, Definition, Lookup, conditions_schema
from skerry.model.names import dns_label_error
from skerry.model.objects import Object, dig, name_of
from skerry.model.resources import SITES
from skerry.model.times import parse_duration

DEFAULT_LONGEST_OUTAGE = "720h"
"""Thirty days: longer than any outage that we heard of, so that nobody loses a workload to a default."""


def admit(new: Object, old: Object | None, lookup: Lookup) -> list[Cause]:
    """Judge a Site: its name must fit into a label value, its outage must be a duration."""
    return [*_name(new), *_outage(new)]


def _name(new: Object) -> list[Cause]:
    name = name_of(new).name
    wrong = dns_label_error(name) if name else None
    return [invalid_value("metadata.name", name, f"{wrong}: it is used as the value of the label skerry.dev/site")] if wrong else []


def _outage(new: Object) -> list[Cause]:
    text = dig(new, "spec", "longestOutage", default="")
    if not isinstance(text, str) or not text:
        return []
    try:
        parse_duration(text)
    except ValueError as error:
        return [invalid_value("spec.longestOutage", text, str(error))]
    return []


_LOCATION: dict[str, Any] = {
    "type": "object",
    "description": "Where the place is.",
    "properties": {
        "address": {"type": "string", "maxLength": 512, "description": "As a driver would be told."},
        "latitude": {"type": "number", "minimum": -90, "maximum": 90, "description": "Degrees north."},
        "longitude": {"type": "number", "minimum": -180, "maximum": 180, "description": "Degrees east."},
    },
}

_SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "displayName": {"type": "string", "maxLength": 128, "description": "The name that people use."},
        "location": _LOCATION,
        "longestOutage": {
            "type": "string",
            "maxLength": 32,
            "default": DEFAULT_LONGEST_OUTAGE,
            "description": "The longest outage the place is built for, such as 72h: until then nothing of a silent node is replaced.",
        },
    },
}

_STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "nodes": {"type": "integer", "minimum": 0, "description": "Nodes that belong to the place."},
        "readyNodes": {"type": "integer", "minimum": 0, "description": "Those of them that are Ready."},
        "observedGeneration": {"type": "integer", "format": "int64"},
        "conditions": conditions_schema(),
    },
}

DEFINITION = Definition(
    resource=SITES,
    singular="site",
    categories=("skerry",),
    schema={
        "type": "object",
        "description": "A place with nodes in it.",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _SPEC,
            "status": _STATUS,
        },
    },
    columns=(
        Column("Location", ".spec.displayName", description="The name that people use"),
        Column("Nodes", ".status.nodes", "integer"),
        Column("Ready", ".status.readyNodes", "integer"),
        Column("Longest-Outage", ".spec.longestOutage", wide=True),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    admit=admit,
)
