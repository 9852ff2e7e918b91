"""The language: what expressions give, what they refuse, and that a full engine (cel-expr-python) gives the same."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_optional, ext_strings

from skerry.apiserver.cel import CelProgram, CelSyntaxError, CostError, EvaluationError
from skerry.apiserver.cel.types import DYN

SELF: dict[str, Any] = {
    "a": 3,
    "f": 1.5,
    "s": "hello",
    "nul": None,
    "l": [{"k": "x", "v": 1}, {"k": "y", "v": 2}],
    "m": {"one": 1, "two": 2},
    "t": True,
    "list": [3, 1, 2],
}
ENGINE = cel.NewEnv(variables={"self": cel.Type.DYN}, extensions=[ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional()])

SHARED = [
    "self.a > 1 && self.s == 'hello'",
    "self.a + 2 * 3 - 4 / 2 % 3",
    "-7 / 2 + -7 % 3",
    "self.f * 2.0 >= 3.0",
    "self.f < self.a",
    "has(self.zz) || has(self.a)",
    "self.zz",
    "self.zz == 1 || true",
    "true || self.zz == 1",
    "self.zz == 1 && true",
    "self.zz == 1 && false",
    "false && self.zz == 1",
    "self.nul == null",
    "self.a == 'x'",
    "self.a + 'x'",
    "self.l.all(x, x.v < 3)",
    "self.l.exists(x, x.k == 'y')",
    "self.l.exists_one(x, x.v > 0)",
    "self.l.filter(x, x.v > 1).size()",
    "self.l.map(x, x.v * 2)",
    "self.l.map(x, x.v > 1, x.k)",
    "self.l.all(x, x.w == 1)",
    "self.l.exists(x, x.w == 1 || x.v == 2)",
    "self.m.all(k, self.m[k] > 0)",
    "self.m.exists(k, k == 'two')",
    "'one' in self.m && !('three' in self.m) && 3 in self.list",
    "self.l[0].k + self.l[1].k",
    "self.l[2]",
    "self['a']",
    "self.list == [3, 1, 2]",
    "{'a': [1], 'b': [2]} == {'b': [2], 'a': [1]}",
    "self.t ? self.a : self.zz",
    "size(self.s) + self.l.size() + size(self.m) + size(b'abc')",
    "'a' + 'b' < 'b'",
    "[1] + [2] == [1, 2]",
    "int('42') + int(3.9) + int(2u)",
    "int('x')",
    "double('1.5') + double(2)",
    "string(1) + string(true) + string(1.5) + string(b'x')",
    "uint(3) + 2u",
    "1u - 2u",
    "9223372036854775807 + 1",
    "1 / 0",
    "1 % 0",
    "1.0 / 0.0",
    "type(1) == int && type('a') == string && type([]) == list && type({}) == map",
    "dyn(1) == 1.0",
    "'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')",
    "'hello'.matches('^h.*o$') && !'hello'.matches('^x')",
    "matches('abc', 'b')",
    "duration('1h30m') == duration('90m')",
    "duration('1h') + duration('1s') > duration('1h')",
    "timestamp('2020-02-03T04:05:06Z') + duration('1h') == timestamp('2020-02-03T05:05:06Z')",
    "timestamp('2020-02-03T04:05:06Z').getFullYear() + timestamp('2020-02-03T04:05:06Z').getMonth()",
    "timestamp('2020-02-03T04:05:06Z').getDayOfWeek() * 100 + timestamp('2020-02-03T04:05:06Z').getDayOfYear()",
    "timestamp('2020-02-03T04:05:06Z').getHours('+02:00')",
    "string(timestamp('2020-02-03T04:05:06Z')) + string(duration('1h'))",
    "duration('3661s').getHours() + duration('3661s').getMinutes()",
    "self.?a.orValue(1) + self.?zz.orValue(1)",
    "self.?zz.hasValue() || self.?a.hasValue()",
    "self.?l[?5].hasValue()",
    "self.?a.optMap(x, x + 1).orValue(0)",
    "optional.none().orValue(7)",
    "optional.of(1).value() + optional.ofNonZeroValue(0).or(optional.of(5)).value()",
    "[?self.?zz, ?self.?a]",
    "{?'x': self.?zz, ?'y': self.?a}",
    "'a,b,,c'.split(',') == ['a', 'b', '', 'c']",
    "'a,b,c'.split(',', 2)",
    "['a', 'b'].join('-') + ['x'].join()",
    "'Hello'.lowerAscii() + 'Hello'.upperAscii()",
    "'hello'.indexOf('l') + 'hello'.lastIndexOf('l') + 'hello'.indexOf('l', 3) + 'hello'.indexOf('zz')",
    "'hello'.charAt(1) + 'hello'.substring(2) + 'hello'.substring(1, 3)",
    "'hello'.substring(4, 2)",
    "'hello'.replace('l', 'L') + 'hello'.replace('l', 'L', 1)",
    "'  x '.trim() + '.'",
    "'%s is %d of %s'.format(['a', 2, [1, 2]])",
    "'%.2f'.format([1.5])",
    "strings.quote('a\"b')",
    r"'\u00e9\n\x41' == 'é\nA'",
    r"r'\n'.size()",
    "'''a'b'''",
    "b'\\x01' == b'\\001'",
    "0x1F + 1",
    "1e3 + .5",
    "!true || !!false",
    "- -5 + --5",
    "-9223372036854775808",
    "[1, 2][0] == 1 ? 'x' : 'y'",
    "// a comment\n 1 + 1",
]  # fmt: skip


def ours(source: str) -> Any:
    try:
        return CelProgram(source, {"self": DYN}).evaluate({"self": SELF})[0]
    except EvaluationError:
        return EvaluationError


def theirs(source: str) -> Any:
    found = ENGINE.compile(source).eval(data={"self": SELF})
    return EvaluationError if found.type() == cel.Type.ERROR else found.plain_value()


@pytest.mark.parametrize("source", SHARED)
def test_a_full_engine_gives_the_same(source: str) -> None:
    assert ours(source) == theirs(source)


KUBERNETES = [
    ("[1, 2, 3].isSorted()", True),
    ("[2, 1].isSorted()", False),
    ("[1, 5, 2].max() + [3, 1].min() + [1, 2].sum()", 9),
    ("[1.5, 2.0].sum()", 3.5),
    ("['a', 'b', 'a'].indexOf('a') + ['a', 'b', 'a'].lastIndexOf('a')", 2),
    ("[].sum()", 0),
    ("1 < 1.5 && 2u > 1 && 2.5 >= 2", True),
    ("string(timestamp('2020-02-03T04:05:06.5Z'))", "2020-02-03T04:05:06.5Z"),
    ("'abc 123'.find('[0-9]+')", "123"),
    ("'a1 b22'.findAll('[0-9]+')", ["1", "22"]),
    ("'a1 b22 c3'.findAll('[0-9]+', 2)", ["1", "22"]),
    ("url('https://user@example.com:80/a%20b?x=1&x=2').getHost()", "example.com:80"),
    ("url('https://example.com:80/a%20b?x=1').getEscapedPath()", "/a%20b"),
    ("url('https://[::1]:80/').getHostname() + url('https://[::1]:80/').getPort()", "::180"),
    ("url('https://e.com/?x=1&x=2').getQuery()['x']", ["1", "2"]),
    ("isURL('https://a') && isURL('/path') && !isURL('a b') && !isURL('x')", True),
    ("ip('192.168.0.1').family() + ip('::1').family()", 10),
    ("isIP('1.2.3.4') && !isIP('1.2.3') && !isIP('fe80::1%en0')", True),
    ("ip('127.0.0.1').isLoopback() && ip('0.0.0.0').isUnspecified() && ip('8.8.8.8').isGlobalUnicast()", True),
    ("ip.isCanonical('::1') && !ip.isCanonical('0:0::1')", True),
    ("cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))", True),
    ("cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')", True),
    ("cidr('10.0.0.0/8').prefixLength()", 8),
    ("quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('500m').compareTo(quantity('0.5')) == 0", True),
    ("quantity('50k').add(quantity('20')).sub(10).asInteger()", 50010),
    ("isQuantity('1Ki') && !isQuantity('1kk')", True),
    ("quantity('1500m').isInteger() || quantity('-1').sign() == 1", False),
    ("sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])", True),
    ("format.dns1123Label().validate('my-name').hasValue()", False),
    ("format.dns1123Label().validate('My').hasValue()", True),
    ("format.named('nope').hasValue()", False),
]


@pytest.mark.parametrize(("source", "value"), KUBERNETES)
def test_the_functions_of_kubernetes(source: str, value: object) -> None:
    assert ours(source) == value


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("1 +", "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting"),
        ("self.a ==\n  'x", "ERROR: <input>:2:3: Syntax error: token recognition error"),
        ("zz", "ERROR: <input>:1:1: undeclared reference to 'zz' (in container '')\n | zz\n | ^"),
        ("self.a.frob()", "ERROR: <input>:1:12: undeclared reference to 'frob'"),
        ("1 + 'a'", "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'"),
        ("'a'.startsWith(1)", "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("has(self)", "invalid argument to has() macro"),
        ("self.all(x.y, true)", "argument must be a simple name"),
        ("'a'.matches('(')", "invalid matches argument: error parsing regexp"),
        ("for", "reserved identifier: for"),
        ("1.all(x, true)", "expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)"),
        ("1 ? 2 : 3", "found no matching overload for '_?_:_' applied to '(int, int, int)'"),
        ("[1, 2].transformList(i, v, v)", "undeclared reference to 'transformList'"),
        ("(" * 60 + "1" + ")" * 60, "expression recursion limit exceeded"),
        ("1" + "+1" * 500, "expression recursion limit exceeded"),
        ("9223372036854775808", "invalid int literal"),
    ],
)
def test_what_cannot_be_compiled_is_refused_where_it_stands(source: str, why: str) -> None:
    with pytest.raises(CelSyntaxError) as error:
        CelProgram(source, {"self": DYN})

    assert why in str(error.value)


def test_many_terms_of_one_operator_are_no_depth() -> None:
    program = CelProgram(" || ".join(["self.a == 0"] * 400), {"self": DYN})

    assert program.evaluate({"self": SELF})[0] is False


@pytest.mark.parametrize(
    "source",
    [
        "self.all(x, self.all(y, self.all(z, x + y + z >= 0)))",
        "self.map(x, self.map(y, self.map(z, [x, y, z]))).size() > 0",
    ],
)
def test_a_bomb_stops_at_its_limit(source: str) -> None:
    program = CelProgram(source, {"self": DYN})
    started = time.process_time()

    with pytest.raises(CostError):
        program.evaluate({"self": list(range(5000))})

    assert time.process_time() - started < 10, "bounded: the limit is some 100 ms on a machine that is not shared"


def test_a_variable_of_a_macro_is_gone_after_it() -> None:
    values: dict[str, Any] = {"self": [1, 2], "x": 7}

    assert CelProgram("self.exists(x, x == 2) && x == 7", {"self": DYN, "x": DYN}).evaluate(values)[0] is True
    assert values == {"self": [1, 2], "x": 7}
