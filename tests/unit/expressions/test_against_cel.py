"""Every accepted expression gives the answer of a full CEL engine (cel-expr-python), failures included."""

from __future__ import annotations

import math
from typing import Any

import pytest
from cel_expr_python import cel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.model.expressions import ExpressionError, Failure, Kind, parse

KINDS: dict[str, Kind] = {"d": "double", "e": "double", "n": "int", "m": "int", "s": "string", "t": "string", "b": "bool", "c": "bool"}
ENGINE = cel.NewEnv(variables=dict.fromkeys(KINDS, cel.Type.DYN))

_LETTERS = st.text(st.sampled_from("ab'\"\\\n\té€😀"), max_size=4)
_INT = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)
_DOUBLE = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, 1.0, 2.5, 100.0, 2.0**53, 1e308])
VALUES = st.fixed_dictionaries(
    {"d": _DOUBLE, "e": _DOUBLE, "n": _INT, "m": _INT, "s": _LETTERS, "t": _LETTERS, "b": st.booleans(), "c": st.booleans()}
)


def quoted(text: str) -> str:
    escapes = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "'": "\\'"}
    return "'" + "".join(escapes.get(c, c) for c in text) + "'"


def joined(left: st.SearchStrategy[str], ops: list[str], right: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(left, st.sampled_from(ops), right).map(lambda p: f"({p[0]} {p[1]} {p[2]})")


def choice(kind: st.SearchStrategy[str], condition: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(condition, kind, kind).map(lambda p: f"({p[0]} ? {p[1]} : {p[2]})")


ints: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["n", "m", "0", "1", "7", "-3", "0x1F", "9223372036854775807", "-9223372036854775808"]),
        joined(ints, ["+", "-", "*", "/", "%"], ints),
        ints.map(lambda e: f"-({e})"),
        strings.map(lambda e: f"size({e})"),
        strings.map(lambda e: f"{e}.size()"),
        choice(ints, bools),
    )
)
doubles: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["d", "e", "0.0", "1.5", "-2.25", "1e300", "3.0e-5", ".5"]),
        joined(doubles, ["+", "-", "*", "/"], doubles),
        doubles.map(lambda e: f"-({e})"),
        choice(doubles, bools),
    )
)
strings: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(st.sampled_from(["s", "t", '"b"']), _LETTERS.map(quoted), joined(strings, ["+"], strings), choice(strings, bools))
)
_ORDER = ["<", "<=", ">", ">=", "==", "!="]
bools: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["b", "c", "true", "false"]),
        joined(ints | doubles, _ORDER, ints | doubles),
        joined(strings, _ORDER, strings),
        joined(bools, ["&&", "||", "==", "!=", "<"], bools),
        bools.map(lambda e: f"!{e}"),
        st.tuples(strings, st.sampled_from(["startsWith", "endsWith", "contains"]), strings).map(lambda p: f"{p[0]}.{p[1]}({p[2]})"),
        st.tuples(ints | doubles, st.lists(ints | doubles, max_size=3)).map(lambda p: f"({p[0]} in [{', '.join(p[1])}])"),
        st.tuples(strings, st.lists(strings, max_size=3)).map(lambda p: f"({p[0]} in [{', '.join(p[1])}])"),
        choice(bools, bools),
    )
)


def engine_answer(source: str, values: dict[str, Any]) -> Any:
    found = ENGINE.compile(source, disable_check=True).eval(data=values)
    return Failure("engine") if found.type() == cel.Type.ERROR else found.plain_value()


def agree(source: str, values: dict[str, Any]) -> None:
    ours, theirs = parse(source, KINDS).evaluate(values), engine_answer(source, values)
    if isinstance(theirs, Failure) or isinstance(ours, Failure):
        assert isinstance(ours, Failure), f"{source}: ours {ours!r}, the engine fails"
        assert isinstance(theirs, Failure), f"{source}: ours fails ({ours.why}), the engine says {theirs!r}"
    elif isinstance(ours, float) and math.isnan(ours):
        assert math.isnan(theirs), f"{source}: {theirs!r}"
    else:
        assert (type(ours), ours) == (type(theirs), theirs), source


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(bools | ints | doubles | strings, VALUES)
def test_equal_answers(source: str, values: dict[str, Any]) -> None:
    try:
        parse(source, KINDS)
    except ExpressionError as error:
        if "nested deeper" not in str(error) and "characters" not in str(error):
            raise
        return
    agree(source, values)


@pytest.mark.parametrize(
    "source",
    [
        "d > 100",
        "n == d",
        "b || (1/0 > 0)",
        "(1/0 > 0) || b",
        "(1/0 > 0) && false",
        "1 / 0",
        "n % 0",
        "-7 / 2",
        "-7 % 3",
        "7 % -3",
        "1.0 / 0.0",
        "-1.0 / 0.0",
        "0.0 / 0.0 == 0.0 / 0.0",
        "9223372036854775807 + 1",
        "-(-9223372036854775808)",
        "-9223372036854775808 / -1",
        "-9223372036854775808 % -1",
        "9007199254740993 == 9007199254740992.0",
        "9007199254740993 > 9007199254740992.0",
        "9223372036854775807 == 9223372036854775808.0",
        "9223372036854775807 < 9223372036854775808.0",
        "9007199254740993 in [9007199254740992.0]",
        "-9223372036854775808 <= -9223372036854775809.0",
        "size('é€😀')",
        "s + t == 'ab'",
        "1 == 1 == true",
        "--5",
        "!!b",
        "2 + 3 * 4 - 10 / 5",
        "b ? 1 : 2",
        "s in []",
        "1 in [1, 1 / 0]",
        "size([1, 2, 3])",
    ],
)
def test_equal_answers_where_it_is_delicate(source: str) -> None:
    agree(source, {"d": 100.5, "e": 0.0, "n": 7, "m": -7, "s": "a", "t": "b", "b": True, "c": False})


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab1.5'\"()[]<>=!&|+-*/%?:, \\nin size"), max_size=30))
def test_what_we_accept_the_engine_accepts_too(source: str) -> None:
    try:
        parse(source, {**KINDS, "a": "bool"})
    except ExpressionError:
        return
    cel.NewEnv(variables=dict.fromkeys((*KINDS, "a"), cel.Type.DYN)).compile(source, disable_check=True)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "position 1: expected a value"),
        ("flaw > 1.0", "position 1: no property 'flaw'; known: b, c, d, e, m, n, s, t"),
        ("d + 1", r"\+ is not defined for double and int \(write 100.0 for a double\)"),
        ("d &&", "expected a value, found 'the end'"),
        ("d && b", "&& needs bool on both sides"),
        ("s == 1", "cannot compare string == int"),
        ("1u", "expected the end, found 'u'"),
        ("s.matches('a*')", "no method 'matches'"),
        ("[1, 2]", "a list is only supported"),
        ("b ? 1 : 's'", "one type, not int and string"),
        ("9223372036854775808", "does not fit 64 bits"),
        ("1e999", "does not fit a double"),
        ("'\\q'", "escape"),
        ("'abc", "cannot read"),
        ("٣ > 1", "cannot read"),
        ("(" * 40 + "b" + ")" * 40, "nested deeper than 24"),
        ("!" * 100 + "b", "nested deeper than 24"),
        ("b" * 1025, "1025 characters, the limit is 1024"),
        ("null == b", "no property 'null'"),
    ],
)
def test_what_is_outside_the_subset_is_refused_by_name(source: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why):
        parse(source, KINDS)


@pytest.mark.parametrize("values", [{}, {"d": None}, {"d": "x"}, {"d": True}, {"d": 2**70}])
def test_a_missing_or_strange_value_is_a_failure_and_never_raises(values: dict[str, Any]) -> None:
    assert isinstance(parse("d > 1.0", KINDS).evaluate(values), Failure)
