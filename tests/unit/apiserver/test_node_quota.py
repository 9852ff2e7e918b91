"""The quota of a node's writes: bytes, with a smaller bucket for Events (T7)."""

from __future__ import annotations

from skerry.apiserver.access.attributes import Attributes
from skerry.apiserver.access.node_quota import NodeQuota
from tests.unit.apiserver.asking import node_user


def _asked(resource: str, verb: str = "patch", node: str = "a") -> Attributes:
    return Attributes(node_user(node), verb, resource=resource)


def test_what_was_written_comes_back_with_time() -> None:
    quota, size = NodeQuota(), 16 << 10
    taken = sum(quota.refusal(_asked("events", "create"), size, 0.0) is None for _ in range(200))

    assert taken == (1 << 20) // size
    refused = quota.refusal(_asked("events", "create"), size, 1.0)
    assert refused is not None
    assert refused.code == 429
    assert refused.details["retryAfterSeconds"] == 3
    assert quota.refusal(_asked("events", "create"), size, 4.0) is None


def test_events_cost_nobody_else_anything() -> None:
    quota = NodeQuota()
    while quota.refusal(_asked("events", "create"), 16 << 10, 0.0) is None:
        pass

    assert quota.refusal(_asked("nodes"), 10_000, 0.0) is None
    assert quota.refusal(_asked("events", "create", node="b"), 1000, 0.0) is None


def test_reading_is_not_counted_and_large_bodies_are_named() -> None:
    quota = NodeQuota()

    assert quota.refusal(_asked("nodes", "get"), 1 << 30, 0.0) is None
    refused = quota.refusal(_asked("leases", "update"), 17 << 10, 0.0)
    assert refused is not None
    assert refused.code == 413
    assert "16384" in refused.message
