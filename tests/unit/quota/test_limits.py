"""LimitRanges: what they add, what they refuse, in Kubernetes' words."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.apiserver.quota.limits import claim_refusals, complete_pod, pod_refusals
from skerry.model.objects import Object


def a_pod(*containers: dict[str, Any]) -> Object:
    found = [{"name": f"c{i}", "resources": r} for i, r in enumerate(containers)]
    return {"metadata": {"name": "p"}, "spec": {"containers": found}}


def test_what_containers_do_not_say_is_added_and_noted() -> None:
    pod = a_pod({}, {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}})
    complete_pod(pod, [{"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}])

    assert pod["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "1Gi"}}
    assert pod["spec"]["containers"][1]["resources"] == {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    said = "LimitRanger plugin set: cpu request for container c0; cpu, memory limit for container c0"
    assert pod["metadata"]["annotations"] == {"kubernetes.io/limit-ranger": said}


CONTAINER = "Container"
REFUSED: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"max": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, ["maximum cpu usage per Container is 1, but limit is 2"]),
    ({"max": {"cpu": "1"}}, {}, ["maximum cpu usage per Container is 1.  No limit is specified"]),
    ({"min": {"cpu": "100m"}}, {"requests": {"cpu": "50m"}}, ["minimum cpu usage per Container is 100m, but request is 50m"]),
    ({"min": {"memory": "1Gi"}}, {}, ["minimum memory usage per Container is 1Gi.  No request is specified"]),
    (
        {"maxLimitRequestRatio": {"cpu": "2"}},
        {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}},
        ["cpu max limit to request ratio per Container is 2, but provided ratio is 10.000000"],
    ),
    (
        {"maxLimitRequestRatio": {"cpu": "2"}},
        {},
        ["cpu max limit to request ratio per Container is 2, but no request is specified or request is 0"],
    ),
    ({"min": {"cpu": "1"}, "max": {"cpu": "2"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}, []),
]


@pytest.mark.parametrize(("limit", "resources", "words"), REFUSED)
def test_what_is_out_of_bounds_is_said(limit: dict[str, Any], resources: dict[str, Any], words: list[str]) -> None:
    assert pod_refusals(a_pod(resources), [{"type": CONTAINER, **limit}]) == words


def test_a_limit_of_pods_counts_all_containers_together() -> None:
    half = {"requests": {"memory": "768Mi"}, "limits": {"memory": "768Mi"}}

    assert pod_refusals(a_pod(half, half), [{"type": "Pod", "max": {"memory": "1Gi"}}]) == [
        "maximum memory usage per Pod is 1Gi, but limit is 1536Mi"
    ]


def test_claims_are_bound_by_what_they_ask() -> None:
    claim = {"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": "5Gi"}}}}
    limit = {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}

    assert claim_refusals(claim, [limit]) == ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi"]
