"""Families of a Service: what follows from what was said, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.apiserver.services.families import settle_families

SETTLED: list[tuple[dict[str, Any], str, list[str]]] = [
    ({}, "SingleStack", ["IPv4"]),
    ({"ipFamilies": ["IPv6"]}, "SingleStack", ["IPv6"]),
    ({"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
    ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, "RequireDualStack", ["IPv6", "IPv4"]),
    ({"clusterIP": "fd00:96::7", "clusterIPs": ["fd00:96::7"]}, "SingleStack", ["IPv6"]),
    ({"clusterIP": "None", "clusterIPs": ["None"]}, "RequireDualStack", ["IPv4", "IPv6"]),
    ({"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}}, "SingleStack", ["IPv4"]),
    ({"clusterIP": "None", "clusterIPs": ["None"], "ipFamilyPolicy": "SingleStack"}, "SingleStack", ["IPv4"]),
]
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"ipFamilies": ["IPv4", "IPv6"]}, "spec.ipFamilyPolicy", "when multiple IP families are specified"),
    ({"ipFamilies": ["IPv5"]}, "spec.ipFamilies[0]", 'supported values: "IPv4", "IPv6"'),
    ({"ipFamilies": ["IPv4", "IPv4"], "ipFamilyPolicy": "PreferDualStack"}, "spec.ipFamilies[1]", 'Duplicate value: "IPv4"'),
    ({"ipFamilyPolicy": "Both"}, "spec.ipFamilyPolicy", 'supported values: "PreferDualStack", "RequireDualStack", "SingleStack"'),
    ({"clusterIPs": ["10.96.0.9"]}, "spec.clusterIPs", "must be empty when `clusterIP` is not specified"),
    ({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.8"]}, "spec.clusterIPs", "first value must match `clusterIP`"),
    ({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv6"]}, "spec.clusterIPs[0]", "expected an IPv6 value"),
    ({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "10.96.0.8"]}, "spec.clusterIPs", "no more than one IP for each IP family"),
    ({"clusterIP": "None", "clusterIPs": ["None", "10.96.0.8"]}, "spec.clusterIPs", "'None' must be the first and only value"),
    ({"clusterIP": "10.96.0.300", "clusterIPs": ["10.96.0.300"]}, "spec.clusterIPs[0]", "must be a valid IP address"),
]


@pytest.mark.parametrize(("spec", "policy", "families"), SETTLED)
def test_families_follow_from_what_was_said(spec: dict[str, Any], policy: str, families: list[str]) -> None:
    assert settle_families(spec, None) == []

    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == (policy, families)


@pytest.mark.parametrize(("spec", "field", "words"), REFUSED)
def test_what_does_not_go_together_is_named(spec: dict[str, Any], field: str, words: str) -> None:
    causes = settle_families(spec, None)

    assert [(c.field, words in c.message) for c in causes[:1]] == [(field, True)], causes


BOTH = {
    "ipFamilyPolicy": "RequireDualStack",
    "ipFamilies": ["IPv4", "IPv6"],
    "clusterIP": "10.96.0.9",
    "clusterIPs": ["10.96.0.9", "fd00:96::9"],
}


def test_asking_for_one_family_lets_the_second_go() -> None:
    spec = {**BOTH, "ipFamilyPolicy": "SingleStack"}

    assert settle_families(spec, BOTH) == []

    assert (spec["ipFamilies"], spec["clusterIPs"]) == (["IPv4"], ["10.96.0.9"])


def test_the_second_family_does_not_go_without_being_asked_for() -> None:
    causes = settle_families({**BOTH, "ipFamilies": ["IPv4"]}, BOTH)

    assert "must be 'SingleStack' to release the secondary IP family" in causes[0].message
