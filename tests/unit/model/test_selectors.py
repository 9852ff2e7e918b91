from __future__ import annotations

import pytest

from skerry.model.selectors import Selector, SelectorError, from_label_selector, parse_fields, parse_labels

LABELS = {"app": "web", "tier": "front", "n": "3"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app!=web", False),
        ("missing!=web", True),
        ("app in (web, api)", True),
        ("app notin (web)", False),
        ("missing notin (web)", True),
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("n>2", True),
        ("n<3", False),
        ("app=", False),
    ],
)
def test_a_label_selector_matches_as_kubernetes_documents(text: str, matches: bool) -> None:
    assert parse_labels(text).matches(LABELS) is matches


@pytest.mark.parametrize("text", ["a==b=c", "a,,b", "a in b", "a in (b", "=a", "a b", "x" * 64 + "=1", "-a=1"])
def test_a_malformed_selector_is_refused(text: str) -> None:
    with pytest.raises(SelectorError):
        parse_labels(text)


def test_no_label_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert from_label_selector(None) is None
    assert from_label_selector({}) == Selector()


def test_match_expressions_are_read() -> None:
    selector = from_label_selector({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]})

    assert selector is not None
    assert selector.matches(LABELS)


def test_field_selectors_compare_and_unescape() -> None:
    selector = parse_fields(r"metadata.name=a\,b,status.phase!=Failed")

    assert selector.exact("metadata.name") == "a,b"
    assert selector.matches({"metadata.name": "a,b", "status.phase": "Running"})
    assert not selector.matches({"metadata.name": "a,b", "status.phase": "Failed"})
