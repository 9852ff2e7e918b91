"""Broker (`eventing.knative.dev/v1`): a named stream of events in a namespace, whose log lies where the data is.

Knative's schema, so that its YAML works unchanged. `metadata.labels["skerry.dev/site"]` says at which Site the Broker runs; without
it, on every node. The class annotation is `Skerry` unless it says otherwise, and cannot change.
"""

from __future__ import annotations

from typing import Any

from skerry.model.errors import Cause, forbidden_field
from skerry.model.kinds.definition import Column, Definition, Lookup, conditions_schema
from skerry.model.kinds.delivery import DELIVERY_SCHEMA, REFERENCE_SCHEMA, complete_destination, delivery_causes
from skerry.model.objects import Object, annotations_of, dig, name_of
from skerry.model.resources import BROKERS

CLASS_ANNOTATION = "eventing.knative.dev/broker.class"
OUR_CLASS = "Skerry"

ADDRESS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "url": {"type": "string"},
        "name": {"type": "string"},
        "CACerts": {"type": "string"},
        "audience": {"type": "string"},
    },
}

_READY = '.status.conditions[?(@.type=="Ready")]'


def class_of(broker: Object) -> str:
    """Return the Broker's class; "" when nobody has set one."""
    return annotations_of(broker).get(CLASS_ANNOTATION) or ""


def default(new: Object, old: Object | None, lookup: Lookup) -> None:
    """Set the class, and the namespaces of references."""
    meta = new.setdefault("metadata", {})
    annotations = meta.get("annotations") or {}
    if not annotations.get(CLASS_ANNOTATION):
        meta["annotations"] = {**annotations, CLASS_ANNOTATION: OUR_CLASS}
    complete_destination(dig(new, "spec", "delivery", "deadLetterSink"), name_of(new).namespace)


def admit(new: Object, old: Object | None, lookup: Lookup) -> list[Cause]:
    """The delivery must be possible; class and config are immutable."""
    found = delivery_causes("spec.delivery", dig(new, "spec", "delivery"))
    if old is not None and class_of(old) and class_of(old) != class_of(new):
        found.append(forbidden_field(f"metadata.annotations[{CLASS_ANNOTATION}]", f"is immutable; it was {class_of(old)!r}"))
    if old is not None and dig(old, "spec", "config") != dig(new, "spec", "config"):
        found.append(forbidden_field("spec.config", "is immutable"))
    return found


DEFINITION = Definition(
    resource=BROKERS,
    singular="broker",
    categories=("all", "knative", "eventing"),
    columns=(
        Column("URL", ".status.address.url"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Ready", f"{_READY}.status"),
        Column("Reason", f"{_READY}.reason"),
    ),
    schema={
        "type": "object",
        "description": "A named stream of events. It runs on the nodes of its Site, and Triggers take events from it.",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "config": {**REFERENCE_SCHEMA, "description": "Settings of other Broker classes; class Skerry needs none. Immutable."},
                    "delivery": DELIVERY_SCHEMA,
                },
            },
            "status": {
                "type": "object",
                "properties": {
                    "address": ADDRESS_SCHEMA,
                    "addresses": {"type": "array", "items": ADDRESS_SCHEMA},
                    "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                    "conditions": conditions_schema(),
                    "deadLetterSinkUri": {"type": "string"},
                    "observedGeneration": {"type": "integer", "format": "int64"},
                },
            },
        },
    },
    admit=admit,
    default=default,
)
