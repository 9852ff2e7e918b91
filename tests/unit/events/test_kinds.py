"""Admission of Broker and Trigger: Knative's YAML passes, what we cannot do is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.model.kinds import broker, trigger
from skerry.model.kinds.delivery import parse_iso_duration, uri_error
from skerry.model.objects import Object
from skerry.model.resources import Resource


def _nothing(resource: Resource, namespace: str, name: str) -> Object | None:
    return None


def a_trigger(**spec: Any) -> Object:
    spec = {"broker": "default", "subscriber": {"uri": "http://127.0.0.1:8080/"}, **spec}
    return {"metadata": {"name": "t", "namespace": "plant"}, "spec": spec}


def a_broker(**spec: Any) -> Object:
    return {"metadata": {"name": "default", "namespace": "plant"}, "spec": spec}


def test_a_broker_gets_our_class_and_keeps_another() -> None:
    ours, other = a_broker(), a_broker()
    other["metadata"]["annotations"] = {broker.CLASS_ANNOTATION: "Kafka"}

    broker.default(ours, None, _nothing)
    broker.default(other, None, _nothing)

    assert broker.class_of(ours) == "Skerry"
    assert broker.class_of(other) == "Kafka"


def test_a_brokers_class_and_config_are_immutable() -> None:
    old, new = a_broker(config={"kind": "ConfigMap"}), a_broker()
    old["metadata"]["annotations"] = {broker.CLASS_ANNOTATION: "Skerry"}
    new["metadata"]["annotations"] = {broker.CLASS_ANNOTATION: "Kafka"}

    causes = broker.admit(new, old, _nothing)

    assert [c.field for c in causes] == [f"metadata.annotations[{broker.CLASS_ANNOTATION}]", "spec.config"]


def test_a_trigger_inherits_the_site_of_its_broker_and_names_it_in_a_label() -> None:
    def lookup(resource: Resource, namespace: str, name: str) -> Object | None:
        assert (resource.plural, namespace, name) == ("brokers", "plant", "default")
        return {"metadata": {"labels": {"skerry.dev/site": "dock-3"}}}

    new = a_trigger()
    trigger.default(new, None, lookup)

    assert new["metadata"]["labels"] == {"eventing.knative.dev/broker": "default", "skerry.dev/site": "dock-3"}
    assert trigger.admit(new, None, lookup) == []


def test_a_trigger_may_exist_before_its_broker() -> None:
    new = a_trigger()
    trigger.default(new, None, _nothing)

    assert trigger.admit(new, None, _nothing) == []
    assert "skerry.dev/site" not in new["metadata"]["labels"]


def test_knatives_own_example_is_admitted() -> None:
    new = a_trigger(
        filter={"attributes": {"type": "dev.knative.foo.bar", "myextension": ""}},
        filters=[{"any": [{"exact": {"type": "a"}}, {"not": {"prefix": {"source": "/x"}}}]}, {"all": [{"suffix": {"type": ".b"}}]}],
        subscriber={"ref": {"apiVersion": "v1", "kind": "Service", "name": "svc"}},
        delivery={
            "retry": 5,
            "backoffPolicy": "exponential",
            "backoffDelay": "PT0.2S",
            "timeout": "PT10S",
            "deadLetterSink": {"uri": "http://h/"},
        },
    )
    trigger.default(new, None, _nothing)

    assert trigger.admit(new, None, _nothing) == []
    assert new["spec"]["subscriber"]["ref"]["namespace"] == "plant"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"broker": ""}, "spec.broker"),
        ({"brokerRef": {"name": "x"}}, "spec.brokerRef"),
        ({"filters": [{"cesql": "type = 'a'"}]}, "spec.filters[0].cesql"),
        ({"filters": [{"exact": {"type": "a"}, "prefix": {"type": "b"}}]}, "spec.filters[0]"),
        ({"filters": [{"exact": {"type": ""}}]}, "spec.filters[0].exact.type"),
        ({"filters": [{"any": [{"all": [{"glob": {"type": "a"}}]}]}]}, "spec.filters[0].any[0].all[0]"),
        ({"filters": [{"all": []}]}, "spec.filters[0].all"),
        ({"filter": {"attributes": {"Type": "a"}}}, "spec.filter.attributes"),
        ({"subscriber": {}}, "spec.subscriber"),
        ({"subscriber": {"uri": "/relative"}}, "spec.subscriber.uri"),
        ({"subscriber": {"uri": "http://a b/"}}, "spec.subscriber.uri"),
        ({"subscriber": {"uri": "http://u:p@host/"}}, "spec.subscriber.uri"),
        ({"subscriber": {"uri": "gopher://host/"}}, "spec.subscriber.uri"),
        ({"delivery": {"retry": -1}}, "spec.delivery.retry"),
        ({"delivery": {"backoffPolicy": "fibonacci"}}, "spec.delivery.backoffPolicy"),
        ({"delivery": {"timeout": "PT0S"}}, "spec.delivery.timeout"),
        ({"delivery": {"backoffDelay": "5s"}}, "spec.delivery.backoffDelay"),
        ({"delivery": {"deadLetterSink": {"uri": "x"}}}, "spec.delivery.deadLetterSink.uri"),
    ],
)
def test_what_cannot_work_is_refused_with_its_field(spec: dict[str, Any], field: str) -> None:
    assert [c.field for c in trigger.admit(a_trigger(**spec), None, _nothing)] == [field]


def test_the_broker_of_a_trigger_is_immutable() -> None:
    assert [c.field for c in trigger.admit(a_trigger(broker="b"), a_trigger(broker="a"), _nothing)] == ["spec.broker"]


def test_filters_nested_without_end_are_refused() -> None:
    deep: Any = {"exact": {"type": "a"}}
    for _ in range(1000 // 2):
        deep = {"not": deep}

    assert [c.field for c in trigger.admit(a_trigger(filters=[deep]), None, _nothing)] == ["spec.filters"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("PT0.2S", 0.2), ("PT1M", 60), ("PT2H30M", 9000), ("P1D", 86400), ("P1DT1S", 86401), ("PT30S", 30)]
)
def test_iso_durations_are_read(text: str, seconds: float) -> None:
    assert parse_iso_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "5s", "P1M", "P1Y", "-PT1S", "PT1S ", "P1DT", "PT" + "1" * 70 + "S"])
def test_what_is_not_an_iso_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        parse_iso_duration(text)


@pytest.mark.parametrize("uri", ["http://h", "https://[::1]:8443/a?b=c", "http://127.0.0.2:1/x"])
def test_addresses_that_work(uri: str) -> None:
    assert uri_error(uri) is None


@pytest.mark.parametrize("uri", ["http://", "http:///x", "http://h:0/", "http://h:99999/", "http://h/\r\nX: y", "http://[::1/", "//h/x"])
def test_addresses_that_cannot_work(uri: str) -> None:
    assert uri_error(uri) is not None


def test_both_kinds_print_knatives_columns() -> None:
    crds = [d.to_crd()["spec"]["versions"][0] for d in (broker.DEFINITION, trigger.DEFINITION)]

    assert [[c["name"] for c in v["additionalPrinterColumns"]] for v in crds] == [
        ["URL", "Age", "Ready", "Reason"],
        ["Broker", "Subscriber_URI", "Age", "Ready", "Reason"],
    ]
