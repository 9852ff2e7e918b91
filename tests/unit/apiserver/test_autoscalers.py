"""HorizontalPodAutoscalers are one collection under two versions: nothing that is said under one is lost under the other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skerry.apiserver.schema.autoscalers import BEHAVIOR, CONDITIONS, METRICS, as_v1, as_v2
from skerry.model.objects import Object
from tests.unit.apiserver.asking import MERGE, Asker

V1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
V2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
REF = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
SELECTOR = {"matchLabels": {"queue": "orders"}}


def of_v1(**spec: Any) -> Object:
    return {"metadata": {"name": "a"}, "spec": {"scaleTargetRef": REF, "maxReplicas": 5, **spec}}


def cpu(percent: int) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}}


EVERY_METRIC: list[Object] = [
    cpu(33),
    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
    {
        "type": "ContainerResource",
        "containerResource": {"name": "cpu", "container": "app", "target": {"type": "Utilization", "averageUtilization": 50}},
    },
    {"type": "Pods", "pods": {"metric": {"name": "hits", "selector": SELECTOR}, "target": {"type": "AverageValue", "averageValue": "10"}}},
    {
        "type": "Object",
        "object": {
            "describedObject": {"kind": "Service", "name": "s", "apiVersion": "v1"},
            "metric": {"name": "rate"},
            "target": {"type": "Value", "value": "7"},
        },
    },
    {
        "type": "External",
        "external": {"metric": {"name": "q", "selector": SELECTOR}, "target": {"type": "AverageValue", "averageValue": "3"}},
    },
]
BEHAVES = {
    "scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}], "selectPolicy": "Max", "stabilizationWindowSeconds": 9}
}
MEASURED: Object = {
    "currentReplicas": 2,
    "desiredReplicas": 3,
    "conditions": [{"type": "AbleToScale", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-05T10:00:00Z"}],
    "currentMetrics": [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 20, "averageValue": "100m"}}},
        {"type": "Object", "object": {"describedObject": REF, "metric": {"name": "rate"}, "current": {"value": "6"}}},
        {"type": "External", "external": {"metric": {"name": "q", "selector": SELECTOR}, "current": {"averageValue": "2"}}},
    ],
}


def test_everything_of_the_newer_version_comes_back_from_the_older_one() -> None:
    there = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a", "annotations": {"mine": "1"}},
        "spec": {"scaleTargetRef": REF, "maxReplicas": 5, "metrics": EVERY_METRIC, "behavior": BEHAVES},
        "status": MEASURED,
    }
    before = json.dumps(there)

    older = as_v1(there)

    assert (older["spec"]["targetCPUUtilizationPercentage"], older["status"]["currentCPUUtilizationPercentage"]) == (33, 20)
    notes = older["metadata"]["annotations"]
    assert json.loads(notes[METRICS])[1] == {
        "type": "ContainerResource",
        "containerResource": {"name": "cpu", "targetAverageUtilization": 50, "container": "app"},
    }
    assert json.loads(notes[CONDITIONS]) == MEASURED["conditions"]
    assert as_v2(older) == there
    assert json.dumps(there) == before


async def test_what_the_older_version_wants_is_a_metric_of_the_newer_one(ask: Asker) -> None:
    code, made = await ask("POST", V1, of_v1(targetCPUUtilizationPercentage=33))
    _, newer = await ask("GET", f"{V2}/a")
    await ask("PATCH", f"{V2}/a", {"metadata": {"labels": {"x": "y"}}}, content_type=MERGE)
    _, older = await ask("GET", f"{V1}/a")

    assert (code, made["apiVersion"], made["spec"]["targetCPUUtilizationPercentage"]) == (201, "autoscaling/v1", 33)
    assert (newer["apiVersion"], newer["spec"]["metrics"]) == ("autoscaling/v2", [cpu(33)])
    assert (older["spec"]["targetCPUUtilizationPercentage"], older["metadata"]["labels"]) == (33, {"x": "y"})


async def test_what_the_newer_version_says_survives_a_change_in_the_older_one(ask: Asker) -> None:
    await ask("POST", V2, of_v1(metrics=EVERY_METRIC, behavior=BEHAVES))
    _, before = await ask("GET", f"{V2}/a")

    _, older = await ask("GET", f"{V1}/a")
    older["spec"]["maxReplicas"] = 7
    code, _ = await ask("PUT", f"{V1}/a", older)
    _, after = await ask("GET", f"{V2}/a")

    assert code == 200
    assert after["spec"] == {**before["spec"], "maxReplicas": 7}
    assert "annotations" not in after["metadata"]


async def test_the_same_object_put_again_is_no_change(ask: Asker) -> None:
    await ask("POST", V2, of_v1(metrics=EVERY_METRIC, behavior=BEHAVES))
    _, older = await ask("GET", f"{V1}/a")

    code, again = await ask("PUT", f"{V1}/a", older)

    assert (code, again["metadata"]["resourceVersion"]) == (200, older["metadata"]["resourceVersion"])


async def test_who_asks_for_nothing_gets_eighty_per_cent_but_not_beside_other_metrics(ask: Asker) -> None:
    _, alone = await ask("POST", V1, of_v1())
    beside = of_v1() | {
        "metadata": {
            "name": "b",
            "annotations": {METRICS: json.dumps([{"type": "Pods", "pods": {"metricName": "h", "targetAverageValue": "1"}}])},
        }
    }
    code, other = await ask("POST", V1, beside)
    _, newer = await ask("GET", f"{V2}/b")

    assert alone["spec"]["targetCPUUtilizationPercentage"] == 80
    assert code == 201
    assert "targetCPUUtilizationPercentage" not in other["spec"]
    assert newer["spec"]["metrics"] == [
        {"type": "Pods", "pods": {"metric": {"name": "h"}, "target": {"type": "AverageValue", "averageValue": "1"}}}
    ]


async def test_the_conditions_of_the_status_are_in_an_annotation_of_the_older_version(ask: Asker) -> None:
    await ask("POST", V2, of_v1())
    await ask("PATCH", f"{V2}/a/status", {"status": {"conditions": MEASURED["conditions"], "desiredReplicas": 1}}, content_type=MERGE)

    _, older = await ask("GET", f"{V1}/a")
    await ask("PATCH", f"{V1}/a", {"spec": {"maxReplicas": 9}}, content_type=MERGE)
    _, newer = await ask("GET", f"{V2}/a")

    assert json.loads(older["metadata"]["annotations"][CONDITIONS]) == MEASURED["conditions"]
    assert "conditions" not in older["status"]
    assert (newer["status"]["conditions"], newer["spec"]["maxReplicas"]) == (MEASURED["conditions"], 9)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (METRICS, "no json"),
        (METRICS, '{"a": 1}'),
        (METRICS, "[1]"),
        (METRICS, '[{"type": "Pods", "pods": 3}]'),
        (METRICS, '[{"type": "Pods", "pods": {"metricName": {}, "targetAverageValue": "1"}}]'),
        (METRICS, '[{"type": "Resource", "resource": {"name": "memory", "targetAverageUtilization": "much"}}]'),
        (METRICS, "[" * 5000),
        (BEHAVIOR, '{"scaleUp": {"policies": 3}}'),
        (CONDITIONS, '[{"type": 3}]'),
    ],
)
@pytest.mark.parametrize("query", ["", "?dryRun=All"])
async def test_an_annotation_that_is_not_what_it_is_for_is_refused(ask: Asker, name: str, text: str, query: str) -> None:
    code, answer = await ask("POST", V1 + query, of_v1() | {"metadata": {"name": "a", "annotations": {name: text}}})

    assert (code, answer["reason"]) == (422, "Invalid")
    assert answer["details"]["causes"][0]["field"].startswith("metadata.annotations")


async def test_rules_are_those_of_the_newer_version(ask: Asker) -> None:
    code, answer = await ask("POST", V1, of_v1(targetCPUUtilizationPercentage=0))

    assert code == 422
    assert answer["message"].endswith("spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0")


async def test_an_applied_autoscaler_of_the_older_version_is_applied_again_without_a_change(ask: Asker) -> None:
    body = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler"} | of_v1(targetCPUUtilizationPercentage=40)
    where = f"{V1}/a?fieldManager=me"
    _, first = await ask("PATCH", where, body, content_type=APPLY)
    code, again = await ask("PATCH", where, body, content_type=APPLY)
    _, newer = await ask("GET", f"{V2}/a")

    assert (code, again["metadata"]["resourceVersion"]) == (200, first["metadata"]["resourceVersion"])
    assert newer["spec"]["metrics"] == [cpu(40)]


async def test_lists_tables_and_watches_are_of_the_version_that_is_asked_for(ask: Asker) -> None:
    await ask("POST", V2, of_v1(metrics=[cpu(33)]))

    _, listed = await ask("GET", V1)
    _, table = await ask("GET", V1, accept=TABLE)
    events = await ask.watch(f"{V1}?watch=true")
    told = await anext(events)
    await events.aclose()

    assert listed["apiVersion"] == "autoscaling/v1"
    assert listed["items"][0]["spec"]["targetCPUUtilizationPercentage"] == 33
    assert "cpu: <unknown>/33%" in table["rows"][0]["cells"]
    assert (told["type"], told["object"]["apiVersion"]) == ("ADDED", "autoscaling/v1")
    assert told["object"]["spec"]["targetCPUUtilizationPercentage"] == 33
