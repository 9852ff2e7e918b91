"""Expressions made at random: our answer is the full engine's, and whatever is no expression is refused and nothing worse."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.apiserver.cel import CelProgram, CelSyntaxError, EvaluationError
from skerry.apiserver.cel.types import BOOL, DOUBLE, DYN, INT, STRING, list_of

VARIABLES = {"b": BOOL, "n": INT, "m": INT, "d": DOUBLE, "s": STRING, "t": STRING, "l": list_of(INT), "w": list_of(STRING)}
ENGINE = cel.NewEnv(
    variables={
        "b": cel.Type.BOOL, "n": cel.Type.INT, "m": cel.Type.INT, "d": cel.Type.DOUBLE, "s": cel.Type.STRING, "t": cel.Type.STRING,
        "l": cel.Type.List(cel.Type.INT), "w": cel.Type.List(cel.Type.STRING),
    },
    extensions=[ext_strings.ExtStrings()],
)  # fmt: skip
TEXTS = st.text(st.sampled_from("ab,'\\\né"), max_size=5)
INTS = st.integers(-(2**63), 2**63 - 1) | st.integers(-4, 4)
VALUES = st.fixed_dictionaries(
    {
        "b": st.booleans(), "n": INTS, "m": INTS, "d": st.floats(allow_nan=False), "s": TEXTS, "t": TEXTS,
        "l": st.lists(INTS, max_size=4), "w": st.lists(TEXTS, max_size=4),
    }
)  # fmt: skip


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def joined(left: st.SearchStrategy[str], ops: list[str], right: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(left, st.sampled_from(ops), right).map(lambda p: f"({p[0]} {p[1]} {p[2]})")


def calls(form: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda p: form.format(*p))


ints: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["n", "m", "0", "1", "-3", "9223372036854775807"]),
        joined(ints, ["+", "-", "*", "/", "%"], ints),
        calls("size({})", texts | numbers | words),
        calls("{}.indexOf({})", texts, texts),
        calls("({} ? {} : {})", bools, ints, ints),
        calls("int({})", texts),
        calls("{}[{}]", numbers, ints),
    )
)
texts: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["s", "t"]),
        TEXTS.map(quoted),
        joined(texts, ["+"], texts),
        calls("string({})", ints | bools | texts),
        calls("{}.{}()", texts, st.sampled_from(["lowerAscii", "upperAscii", "trim"])),
        calls("{}.substring({}, {})", texts, ints, ints),
        calls("{}.replace({}, {})", texts, TEXTS.filter(bool).map(quoted), texts),
        calls("{}.join({})", words, texts),
        calls("{}[{}]", words, ints),
    )
)
numbers: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.just("l"),
        calls("[{}, {}]", ints, ints),
        joined(numbers, ["+"], numbers),
        calls("{}.filter(x, x {} {})", numbers, st.sampled_from(["<", ">=", "!="]), ints),
        calls("{}.map(x, x {} {})", numbers, st.sampled_from(["+", "-", "*"]), ints),
    )
)
words: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.just("w"),
        calls("[{}]", texts),
        calls("{}.split({})", texts, TEXTS.filter(bool).map(quoted)),
        calls("{}.map(x, x + {})", words, texts),
    )
)
ORDER = ["<", "<=", ">", ">=", "==", "!="]
bools: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["b", "true", "false"]),
        joined(ints, ORDER, ints),
        joined(texts, ORDER, texts),
        joined(bools, ["&&", "||", "=="], bools),
        joined(numbers, ["==", "!="], numbers),
        joined(ints, ["in"], numbers),
        calls("!({})", bools),
        calls("{}.{}({})", texts, st.sampled_from(["contains", "startsWith", "endsWith"]), texts),
        calls("{}.{}(x, x > {})", numbers, st.sampled_from(["all", "exists", "exists_one"]), ints),
        calls("{}.{}(x, x.startsWith({}) || {})", words, st.sampled_from(["all", "exists"]), texts, bools),
    )
)


def ours(source: str, values: dict[str, Any]) -> Any:
    try:
        return CelProgram(source, VARIABLES).evaluate(dict(values))[0]
    except EvaluationError:
        return EvaluationError


def theirs(source: str, values: dict[str, Any]) -> Any:
    found = ENGINE.compile(source).eval(data=values)
    return EvaluationError if found.type() == cel.Type.ERROR else found.plain_value()


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(bools | ints | texts | numbers | words, VALUES)
def test_equal_answers(source: str, values: dict[str, Any]) -> None:
    mine, other = ours(source, values), theirs(source, values)

    if isinstance(mine, float) and math.isnan(mine):
        assert math.isnan(other)
    else:
        assert (type(mine), mine) == (type(other), other), source


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(st.text(st.sampled_from("ab1.5u'\"()[]{}<>=!&|+-*/%?:, \\\nin has(self.all(x,map"), max_size=40))
def test_any_text_is_a_program_or_refused(source: str) -> None:
    with contextlib.suppress(CelSyntaxError, EvaluationError):
        CelProgram(source, {"a": DYN, "self": DYN}).evaluate({"a": 1, "self": {"a": [1]}})
