"""The admission rules of Site and Enrollment."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.model.kinds import enrollment, site
from skerry.model.objects import Object
from skerry.model.resources import Resource

KEY = "ab" * 32


def no_lookup(resource: Resource, namespace: str, name: str) -> Object | None:
    return None


def site_exists(resource: Resource, namespace: str, name: str) -> Object | None:
    return {"kind": "Site", "metadata": {"name": name}} if resource.plural == "sites" else None


def an_enrollment(**spec: Any) -> Object:
    fields = {"nodeName": "node-a", "keyHash": KEY, "csr": "PEM", "decision": "Pending", **spec}
    return {"metadata": {"name": f"{fields['nodeName']}-{KEY[:10]}"}, "spec": fields}


def test_what_a_node_asks_with_is_admitted() -> None:
    assert enrollment.admit(an_enrollment(), None, no_lookup) == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"nodeName": "Node_A"}, "spec.nodeName"),
        ({"nodeName": ""}, "spec.nodeName"),
        ({"nodeName": "a" * 201}, "spec.nodeName"),
        ({"keyHash": "xyz"}, "spec.keyHash"),
        ({"keyHash": "cd" * 32}, "metadata.name"),
        ({"decision": "Maybe"}, "spec.decision"),
        ({"site": "nowhere"}, "spec.site"),
        ({"labels": {"skerry.dev/site": "dock"}}, "spec.labels[skerry.dev/site]"),
        ({"labels": {"x.skerry.dev/y": "z"}}, "spec.labels[x.skerry.dev/y]"),
        ({"labels": {"bad key": "z"}}, "spec.labels[bad key]"),
        ({"labels": {"key": "bad value"}}, "spec.labels[key]"),
        ({"labels": {f"k{i}": "v" for i in range(65)}}, "spec.labels"),
    ],
)
def test_a_wrong_field_is_named(spec: dict[str, Any], field: str) -> None:
    causes = enrollment.admit(an_enrollment(**spec), None, no_lookup)

    assert [c.field for c in causes] == [field]


@pytest.mark.parametrize("field", enrollment.CLAIMED)
def test_what_the_node_claimed_never_changes(field: str) -> None:
    old = an_enrollment(hardware={"product": "x"}, token="t1")
    new = an_enrollment(**{**old["spec"], field: {"product": "y"} if field == "hardware" else "other"})

    assert f"spec.{field}" in [c.field for c in enrollment.admit(new, old, no_lookup)]


@pytest.mark.parametrize("decision", ["Approved", "Denied"])
def test_a_decision_does_not_go_back_to_pending(decision: str) -> None:
    causes = enrollment.admit(an_enrollment(), an_enrollment(decision=decision), no_lookup)

    assert [c.field for c in causes] == ["spec.decision"]


def test_an_approval_may_name_a_site_that_exists() -> None:
    approved = an_enrollment(decision="Approved", site="dock-3", labels={"rack": "r1"})

    assert enrollment.admit(approved, an_enrollment(), site_exists) == []


def test_a_site_that_was_deleted_later_does_not_block_a_denial() -> None:
    old = an_enrollment(decision="Approved", site="dock-3")

    assert enrollment.admit(an_enrollment(decision="Denied", site="dock-3"), old, no_lookup) == []


def test_a_site_name_must_fit_a_label() -> None:
    assert [c.field for c in site.admit({"metadata": {"name": "a.b"}}, None, no_lookup)] == ["metadata.name"]
    assert site.admit({"metadata": {"name": "dock-3"}, "spec": {"longestOutage": "72h"}}, None, no_lookup) == []


def test_a_site_outage_must_be_a_duration() -> None:
    wrong = {"metadata": {"name": "dock-3"}, "spec": {"longestOutage": "a while"}}

    assert [c.field for c in site.admit(wrong, None, no_lookup)] == ["spec.longestOutage"]
