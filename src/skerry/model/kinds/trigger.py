"""Trigger (`eventing.knative.dev/v1`): which events of a Broker go to which subscriber.

Knative's schema, so that its YAML works unchanged. It may exist before its Broker. It runs where its Broker runs: without a label
`skerry.dev/site` of its own it inherits the Broker's when it is admitted. `filters` overrides `filter` when it is not empty.
"""

from __future__ import annotations

import re
from typing import Any

from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required
from skerry.model.kinds.definition import Column, Definition, Lookup, conditions_schema
from skerry.model.kinds.delivery import (
    DELIVERY_SCHEMA,
    DESTINATION_SCHEMA,
    REFERENCE_SCHEMA,
    complete_destination,
    delivery_causes,
    destination_causes,
)
from skerry.model.objects import Object, dig, labels_of, name_of
from skerry.model.resources import BROKERS, SITE_LABEL, TRIGGERS

BROKER_LABEL = "eventing.knative.dev/broker"
DIALECTS = ("exact", "prefix", "suffix", "all", "any", "not")
MAX_FILTERS = 256
"""Filter expressions of one Trigger, nested ones counted."""
MAX_DEPTH = 16

_ATTRIBUTE = re.compile(r"[a-z][a-z0-9]*")
_READY = '.status.conditions[?(@.type=="Ready")]'


def default(new: Object, old: Object | None, lookup: Lookup) -> None:
    """Label the Trigger with its Broker and its Broker's Site; fill in the namespaces of references."""
    namespace, broker = name_of(new).namespace, dig(new, "spec", "broker")
    complete_destination(dig(new, "spec", "subscriber"), namespace)
    complete_destination(dig(new, "spec", "delivery", "deadLetterSink"), namespace)
    if not broker or not isinstance(broker, str):
        return
    labels = {BROKER_LABEL: broker, **labels_of(new)}
    if SITE_LABEL not in labels:
        found = lookup(BROKERS, namespace, broker)
        site = labels_of(found).get(SITE_LABEL) if found else None
        labels |= {SITE_LABEL: site} if site else {}
    new["metadata"]["labels"] = labels


def admit(new: Object, old: Object | None, lookup: Lookup) -> list[Cause]:
    """The filters must be ones that we evaluate, the subscriber one that we can reach; the Broker is immutable."""
    spec = new.get("spec") or {}
    found: list[Cause] = []
    if spec.get("brokerRef"):
        found.append(forbidden_field("spec.brokerRef", "brokerRef is not supported: name a Broker of this namespace in spec.broker"))
    elif not spec.get("broker"):
        found.append(required("spec.broker"))
    if old is not None and dig(old, "spec", "broker") != spec.get("broker"):
        found.append(forbidden_field("spec.broker", f"is immutable; it was {dig(old, 'spec', 'broker')!r}"))
    for name in dig(spec, "filter", "attributes") or {}:
        found += _name_causes("spec.filter.attributes", name)
    found += _filters_causes("spec.filters", spec.get("filters") or [])
    found += destination_causes("spec.subscriber", spec.get("subscriber"))
    return [*found, *delivery_causes("spec.delivery", spec.get("delivery"))]


def _name_causes(field: str, name: str) -> list[Cause]:
    if _ATTRIBUTE.fullmatch(name):
        return []
    return [invalid_value(field, name[:64], "an attribute's name is lower-case letters and digits and starts with a letter")]


def _filters_causes(field: str, filters: Any) -> list[Cause]:
    if _weight(filters, MAX_DEPTH + 1) > MAX_FILTERS:
        return [invalid_value(field, "...", f"has more than {MAX_FILTERS} filters, or they are nested deeper than {MAX_DEPTH}")]
    if not isinstance(filters, list):
        return [invalid_value(field, str(filters)[:64], "must be a list")]
    return [c for i, f in enumerate(filters) for c in _filter_causes(f"{field}[{i}]", f)]


def _weight(value: Any, depth: int) -> int:
    """Return how many filters *value* holds; beyond the depth limit it counts as too many."""
    if isinstance(value, list):
        return sum(_weight(v, depth) for v in value)
    if not isinstance(value, dict):
        return 0
    if depth == 0:
        return MAX_FILTERS + 1
    return 1 + sum(_weight(value.get(k), depth - 1) for k in ("all", "any", "not"))


def _filter_causes(field: str, one: Any) -> list[Cause]:
    if not isinstance(one, dict) or len(one) != 1:
        return [invalid_value(field, str(one)[:64], f"must have exactly one dialect of {', '.join(DIALECTS)}")]
    dialect, value = next(iter(one.items()))
    match dialect:
        case "exact" | "prefix" | "suffix":
            return _match_causes(f"{field}.{dialect}", value)
        case "all" | "any":
            return _filters_causes(f"{field}.{dialect}", value) or ([] if value else [required(f"{field}.{dialect}")])
        case "not":
            return _filter_causes(f"{field}.not", value)
        case "cesql":
            return [forbidden_field(f"{field}.cesql", f"CESQL is not supported: use {', '.join(DIALECTS)}")]
    return [not_supported(field, str(dialect)[:64], list(DIALECTS))]


def _match_causes(field: str, value: Any) -> list[Cause]:
    if not isinstance(value, dict) or not value:
        return [required(field, "attributes and the values to compare them with")]
    found = [c for name in value for c in _name_causes(field, name)]
    wrong = [name for name, text in value.items() if not isinstance(text, str) or not text]
    return found + [invalid_value(f"{field}.{name}", value[name], "must be a non-empty string") for name in wrong]


_MATCH_SCHEMA: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
_NESTED_SCHEMA: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}

DEFINITION = Definition(
    resource=TRIGGERS,
    singular="trigger",
    categories=("all", "knative", "eventing"),
    columns=(
        Column("Broker", ".spec.broker"),
        Column("Subscriber_URI", ".status.subscriberUri"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Ready", f"{_READY}.status"),
        Column("Reason", f"{_READY}.reason"),
    ),
    schema={
        "type": "object",
        "description": "Takes the events of a Broker that match its filter to a subscriber, from where the events are: on the node.",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["subscriber"],
                "properties": {
                    "broker": {"type": "string", "description": "The Broker of this namespace; immutable."},
                    "brokerRef": REFERENCE_SCHEMA,
                    "delivery": DELIVERY_SCHEMA,
                    "filter": {
                        "type": "object",
                        "description": 'Exact values of attributes, all of which must match; "" means present.',
                        "properties": {"attributes": _MATCH_SCHEMA},
                    },
                    "filters": {
                        "type": "array",
                        "description": "Filters of one dialect each, all of which must match; overrides `filter` when not empty.",
                        "items": {
                            "type": "object",
                            "properties": {
                                **dict.fromkeys(("exact", "prefix", "suffix"), _MATCH_SCHEMA),
                                **{name: {"type": "array", "items": {"type": "object", **_NESTED_SCHEMA}} for name in ("all", "any")},
                                "not": {"type": "object", **_NESTED_SCHEMA},
                                "cesql": {"type": "string"},
                            },
                        },
                    },
                    "subscriber": DESTINATION_SCHEMA,
                },
            },
            "status": {
                "type": "object",
                "properties": {
                    "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                    "conditions": conditions_schema(),
                    "deadLetterSinkUri": {"type": "string"},
                    "observedGeneration": {"type": "integer", "format": "int64"},
                    "subscriberUri": {"type": "string"},
                    "subscriberCACerts": {"type": "string"},
                    "subscriberAudience": {"type": "string"},
                },
            },
        },
    },
    admit=admit,
    default=default,
)
