"""Patterns of CRDs mean what RE2 means, and none can make the server take for ever."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.apiserver.schema.linear import Linear, may_explode
from skerry.apiserver.schema.patterns import PatternError, compile_pattern

DNS = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("^[a-z]+$", "abc", "abc\n"),
        (r"\Aa\z", "a", "a\n"),
        ("b", "abc", "ac"),
        ("^[[:alpha:]_]+$", "aZ_", "a1"),
        ("^[^[:space:]]+$", "ab", "a b"),
        (r"^\w+$", "a_1", "ä"),
        ("^a[$]$", "a$", "a"),
        ("^[]a]$", "]", "b"),
        ("^a|b$", "axx", "xx"),
        (DNS, "a-b.example.com", "a-.example.com"),
        (r"^(\d+(\.\d+)?(ms|s|m|h))+$", "1h30m", "1h30"),
        (r"^([0-9]{1,3}\.){3}[0-9]{1,3}$", "10.4.0.7", "10.4.0"),
        ("^(a?){3}$", "aa", "aaaa"),
        ("^(?i)(abort|warn)?$", "WARN", "warns"),
        ("^((?i)sun|mon)day$", "MONday", "MONDAY"),
        ("^(?:a(?i)b|c)+$", "aBC", "AB"),
        ("(?i)a(?-i)b", "Ab", "AB"),
        ("(?m)^a$", "x\na\ny", "xa"),
        ("^(?s)(x.)+$", "x\nx!", "x\ny"),
        ("^(?i)([^a-c]+)+$", "xYz", "xBz"),
        ("^(?i:a)b$", "Ab", "AB"),
        ("^[(?i)]+$", "(i)", "I"),
    ],
)
def test_patterns_match_as_re2_does(pattern: str, matching: str, other: str) -> None:
    search = compile_pattern(pattern)

    assert search(matching)
    assert not search(other)


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "[a",
        "a**",
        "(?=x)",
        "(?<!x)",
        r"\pL",
        r"(a)\1",
        r"\Q*\E",
        "[[:nope:]]",
        "\\",
        "x" * 5000,
        r"(\bx*)*\b",
        "(?i)*",
        "(?U)a",
        "(?x)a",
        "a)",
    ],
)
def test_patterns_that_cannot_be_run_are_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "^(a|a)*$", "^(a*)*b", "^(a|aa)+$", "a*a*a*a*a*b", "a+b", "^(a?){30}a{30}$", DNS, r"^(\w+\s?)*$"]
)
def test_a_hostile_text_costs_linear_time(pattern: str) -> None:
    search = compile_pattern(pattern)
    text = "a" * 20_000 + "!"
    start = time.process_time()

    assert not search(text) or pattern == r"^(\w+\s?)*$"
    assert time.process_time() - start < 2.0


def test_plain_patterns_stay_with_the_fast_engine() -> None:
    assert not may_explode("^[a-z0-9-]+$")
    assert not may_explode("^(foo|bar)[0-9]{1,5}$")
    assert may_explode("^(a+)+$")
    assert may_explode("^a*a*")
    assert may_explode("a+b")


_ATOMS = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", r"\w", "^", r"\Z"])
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: (
        st.builds(lambda a, b: a + b, inner, inner)
        | st.builds(lambda a, b: f"({a}|{b})", inner, inner)
        | st.builds(lambda a, q: f"({a}){q}", inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?"]))
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(_PATTERNS, st.text("ab1\n ", max_size=6))
def test_the_linear_engine_agrees_with_pythons(pattern: str, text: str) -> None:
    assert Linear(pattern).search(text) is bool(re.compile(pattern, re.ASCII).search(text))
