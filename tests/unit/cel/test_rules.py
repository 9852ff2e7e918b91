"""Rules of custom kinds: where they look, what they say, what is not run again, and which are refused with their CRD."""

from __future__ import annotations

import time
from typing import Any

import pytest

from skerry.apiserver.cel.crd_rules import rule_causes
from skerry.apiserver.cel.rules import check_rules, compile_rules

AT = "spec.validation.openAPIV3Schema"
STRING, INTEGER = {"type": "string"}, {"type": "integer"}


def obj(*rules: dict[str, Any], **properties: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return {**found, "x-kubernetes-validations": list(rules)} if rules else found


def ruled(schema: dict[str, Any], *rules: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "x-kubernetes-validations": list(rules)}


def rule(source: str, **more: Any) -> dict[str, Any]:
    return {"rule": source, **more}


def said(schema: dict[str, Any], new: Any, old: Any = None) -> list[str]:
    node = compile_rules(schema)
    assert node is not None
    return [str(c) for c in check_rules(node, new, old)]


def refused(schema: dict[str, Any]) -> list[tuple[str, str]]:
    return [(c.field.removeprefix(AT), c.message) for c in rule_causes(schema, AT, root_at=AT)]


@pytest.mark.parametrize(
    ("source", "value", "text"),
    [
        (rule("self.a > 0"), {"a": 1}, []),
        (rule("self.a > 0"), {"a": 0}, ['spec: Invalid value: "object": failed rule: self.a > 0']),
        (rule("self.a > 0", message="positive"), {"a": 0}, ['spec: Invalid value: "object": positive']),
        (rule("self.a > 0", messageExpression="'got ' + string(self.a)"), {"a": 0}, ['spec: Invalid value: "object": got 0']),
        (rule("self.a > 0", message="m", messageExpression="self.b"), {"a": 0}, ['spec: Invalid value: "object": m']),
        (rule("self.a > 0", message="m", reason="FieldValueForbidden", fieldPath=".a"), {"a": 0}, ["spec.a: Forbidden: m"]),
        (rule("self.a > 0", message="m", reason="FieldValueRequired"), {"a": 0}, ["spec: Required value: m"]),
        (rule("self.a > 0", reason="FieldValueDuplicate"), {"a": 0}, ['spec: Duplicate value: "object"']),
        (rule("self.a > 0", message="m"), {}, ['spec: Invalid value: "object": no such key: a evaluating rule: m']),
        (rule("!has(self.a) || self.a > 0"), {}, []),
        (rule("1 / self.a > 0"), {"a": 0}, ['spec: Invalid value: "object": division by zero evaluating rule: 1 / self.a > 0']),
    ],
)
def test_what_a_rule_says(source: dict[str, Any], value: Any, text: list[str]) -> None:
    schema = obj(spec=obj(source, a=INTEGER, b=STRING))

    assert said(schema, {"spec": value}) == text


def test_rules_stand_at_the_root_at_properties_items_and_values() -> None:
    element, value = ruled(STRING, rule("self != 'x'")), ruled(INTEGER, rule("self > 0"))
    schema = obj(
        rule("self.metadata.name == 'n' && self.kind == 'K'", message="root"),
        l={"type": "array", "items": element},
        m={"type": "object", "additionalProperties": value},
        s=element,
    )
    new = {"kind": "K", "metadata": {"name": "o"}, "l": ["a", "x"], "m": {"one": 0, "two": 1}, "s": "x"}

    assert sorted(said(schema, new)) == [
        '<nil>: Invalid value: "object": root',
        "l[1]: Invalid value: \"string\": failed rule: self != 'x'",
        'm[one]: Invalid value: "integer": failed rule: self > 0',
        "s: Invalid value: \"string\": failed rule: self != 'x'",
    ]


def test_a_rule_that_looks_back_runs_only_where_something_was() -> None:
    schema = obj(a=ruled(INTEGER, rule("self >= oldSelf", message="grows")))

    assert said(schema, {"a": 1}) == []
    assert said(schema, {"a": 1}, {}) == []
    assert said(schema, {"a": 1}, {"a": 2}) == ['a: Invalid value: "integer": grows']
    assert said(schema, {"a": 3}, {"a": 2}) == []


def test_elements_of_a_map_list_find_their_predecessors() -> None:
    element = obj(rule("self.v == oldSelf.v", message="fixed"), k=STRING, v=INTEGER)
    schema = obj(l={"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": element})
    old = {"l": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]}

    assert said(schema, {"l": [{"k": "b", "v": 2}, {"k": "c", "v": 9}]}, old) == []
    assert said(schema, {"l": [{"k": "b", "v": 3}]}, old) == ['l[0]: Invalid value: "object": fixed']


def test_an_old_value_may_be_optional() -> None:
    source = rule("oldSelf.hasValue() ? self == oldSelf.value() : self == 'first'", optionalOldSelf=True, message="m")
    schema = obj(a=ruled(STRING, source))

    assert said(schema, {"a": "first"}) == []
    assert said(schema, {"a": "second"}) == ['a: Invalid value: "string": m']
    assert said(schema, {"a": "second"}, {"a": "second"}) == []
    assert said(schema, {"a": "third"}, {"a": "second"}) == ['a: Invalid value: "string": m']


def test_what_did_not_change_is_not_judged_again() -> None:
    schema = obj(spec=obj(a=ruled(INTEGER, rule("self > 0")), b=INTEGER))

    assert said(schema, {"spec": {"a": 0, "b": 2}}, {"spec": {"a": 0, "b": 1}}) == []
    assert len(said(schema, {"spec": {"a": -1, "b": 2}}, {"spec": {"a": 0, "b": 1}})) == 1


def test_a_stored_rule_that_cannot_be_compiled_lets_nothing_pass() -> None:
    [text] = said(obj(a=ruled(INTEGER, rule("self.frobnicate() > 0"))), {"a": 1})

    assert text.startswith("a: Invalid value: \"integer\": rule compile error: ERROR: <input>:1:16: undeclared reference to 'frobnicate'")


def test_a_null_is_not_judged() -> None:
    assert said(obj(a=ruled({**STRING, "nullable": True}, rule("self == 'x'"))), {"a": None}) == []


@pytest.mark.parametrize(
    ("schema", "value", "source"),
    [
        ({"type": "number"}, 3, "self / 2.0 == 1.5"),
        ({"type": "string", "format": "date-time"}, "2020-01-01T00:00:00Z", "self < timestamp('2021-01-01T00:00:00Z')"),
        ({"type": "string", "format": "date"}, "2020-01-01", "self.getFullYear() == 2020"),
        ({"type": "string", "format": "duration"}, "1h30m", "self > duration('1h')"),
        ({"type": "string", "format": "byte"}, "aGVsbG8=", "self == b'hello'"),
        ({"x-kubernetes-int-or-string": True}, "5%", "type(self) == string ? self == '5%' : self == 5"),
        ({"x-kubernetes-int-or-string": True}, 5, "type(self) == string ? self == '5%' : self == 5"),
    ],
)
def test_rules_see_values_as_their_schema_means_them(schema: dict[str, Any], value: Any, source: str) -> None:
    assert said(obj(a=ruled(schema, rule(source))), {"a": value}) == []


def test_names_that_are_no_identifiers_are_escaped() -> None:
    fields = {"a-b": INTEGER, "c.d": INTEGER, "e/f": INTEGER, "g__h": INTEGER, "namespace": INTEGER}
    names = ("a__dash__b", "c__dot__d", "e__slash__f", "g__underscores__h", "__namespace__")
    schema = obj(spec=obj(rule(" + ".join(f"self.{n}" for n in names) + " == 5"), **fields))

    assert refused(schema) == []
    assert said(schema, {"spec": dict.fromkeys(fields, 1)}) == []


@pytest.mark.parametrize(
    ("schema", "field", "why"),
    [
        (obj(rule("self.zz == 1")), ".x-kubernetes-validations[0].rule", "undefined field 'zz'"),
        (obj(rule("self.metadata.labels == 1")), ".x-kubernetes-validations[0].rule", "undefined field 'labels'"),
        (obj(rule("self. >")), ".x-kubernetes-validations[0].rule", "compilation failed: ERROR: <input>:1:7: Syntax error"),
        (obj(a=ruled(STRING, rule("self"))), ".properties[a].x-kubernetes-validations[0].rule", "cel expression must evaluate to a bool"),
        (obj(rule(" ")), ".x-kubernetes-validations[0].rule", "Required value: rule is not specified"),
        (obj(rule("true", messageExpression="1")), ".x-kubernetes-validations[0].messageExpression", "must evaluate to a string"),
        (obj(rule("true", messageExpression="self.q")), ".x-kubernetes-validations[0].messageExpression", "compilation failed"),
        (obj(rule("true", message="a\nb")), ".x-kubernetes-validations[0].message", "message must not contain line breaks"),
        (obj(rule("true", reason="Because")), ".x-kubernetes-validations[0].reason", "Unsupported value"),
        (obj(rule("true", fieldPath=".zz")), ".x-kubernetes-validations[0].fieldPath", "does not refer to a valid field"),
        (
            obj(l={"type": "array", "maxItems": 5, "items": ruled(STRING, rule("self == oldSelf"))}),
            ".properties[l].items.x-kubernetes-validations[0].rule",
            "oldSelf cannot be used on the uncorrelatable portion of the schema",
        ),
        (obj(rule("true", optionalOldSelf=True)), ".x-kubernetes-validations[0].optionalOldSelf", "may not be set if oldSelf is not used"),
        (
            obj(a=ruled({"x-kubernetes-preserve-unknown-fields": True}, rule("true"))),
            ".properties[a].x-kubernetes-validations",
            "rules are not allowed",
        ),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_its_crd(schema: dict[str, Any], field: str, why: str) -> None:
    [(where, message)] = refused(schema)

    assert (where, why in message) == (field, True), message


def test_a_rule_that_may_cost_too_much_is_refused_unless_limits_bound_it() -> None:
    def nested(**limits: int) -> dict[str, Any]:
        text = {"type": "string", **({"maxLength": 10} if limits else {})}
        return obj(l=ruled({"type": "array", "items": text, **limits}, rule("self.all(x, self.all(y, x != y))")))

    at, message = refused(nested())[0]

    assert at == ".properties[l].x-kubernetes-validations[0].rule"
    assert message.startswith("Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule,")
    assert refused(nested(maxItems=100)) == []


def test_to_ask_whether_a_field_is_there_costs_nothing() -> None:
    either = rule("(has(self.a) && !has(self.b)) || (!has(self.a) && has(self.b))")
    items = ruled(obj(a=STRING, b=STRING), either)

    assert refused(obj(l={"type": "array", "items": items})) == []


def test_rules_that_cost_too_much_together_are_refused() -> None:
    texts = {f"f{i}": ruled({"type": "array", "items": STRING}, rule("self.all(x, x.contains('a'))")) for i in range(40)}

    found = refused(obj(**texts))

    assert found[-1][0] == ""
    assert "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget" in found[-1][1]


BOMBS = [
    "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))",
    "self.map(a, self.map(b, [a, b])).size() > 0",
    "self.exists(a, self.map(b, string(b)).join('').matches('(a+)+$'))",
    "self.all(a, self.filter(b, b > a).map(b, string(b)).join(',').split(',').size() >= 0)",
]


@pytest.mark.parametrize("source", BOMBS)
def test_a_bomb_that_got_by_stops_when_the_budget_is_spent(source: str) -> None:
    schema = obj(l=ruled({"type": "array", "maxItems": 5000, "items": INTEGER}, rule(source), rule("true")))
    started = time.process_time()

    found = said(schema, {"l": list(range(5000))})

    assert found == [
        'l: Invalid value: "array": validation failed due to running out of cost budget, no further validation rules will be run'
    ]
    assert time.process_time() - started < 5, "bounded; some 100 ms on a machine of its own"


@pytest.mark.parametrize("count", [4, 400])
def test_a_hostile_crd_is_judged_in_bounded_time(count: int) -> None:
    deep = "(" * 30 + "1" + ")" * 30 + " == 1"
    long = " && ".join(["self.a == 1"] * 1000)
    schema = obj(*[rule(deep), rule(long)] * count, rule("'a'.matches('" + "(a*)*" * 50 + "')"), a=INTEGER)
    started = time.process_time()

    found = refused(schema)

    assert bool(found) is (count == 400)
    assert time.process_time() - started < 5
