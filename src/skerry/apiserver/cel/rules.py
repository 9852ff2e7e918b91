"""`x-kubernetes-validations`: the rules of a schema compiled to one walk over an object, with its predecessor beside it.

Source: apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go, for the wording and for what is compared with what. A rule
about a value that did not change is not run again (ratcheting) unless it looks at `oldSelf`; where there is nothing to
compare with, such a rule is not run, unless it wants to hear of that (`optionalOldSelf`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from skerry.apiserver.cel.conversion import Convert, converter
from skerry.apiserver.cel.declarations import Declaration, declare, escape, is_resource
from skerry.apiserver.cel.errors import CelSyntaxError, CostError, EvaluationError
from skerry.apiserver.cel.frame import PER_CALL
from skerry.apiserver.cel.paths import Path, dotted, field_path
from skerry.apiserver.cel.program import CelProgram
from skerry.apiserver.cel.types import optional_of
from skerry.apiserver.cel.values import NOTHING, Optional
from skerry.model.errors import Cause, forbidden_field, invalid_value, required
from skerry.model.objects import Object

SELF, OLD = "self", "oldSelf"
BUDGET = PER_CALL
"""Cost units of all rules of one object: some 100 ms."""
MAX_MESSAGE = 5 * 1024
"""Longest message that a messageExpression may give: bytes."""
_Schema = Mapping[str, Any]


class Rule(msgspec.Struct, frozen=True):
    """One rule, compiled. `path` is the field that it blames, below the value that it is about.

    `broken` says why a rule that was stored cannot be compiled (by another version of the hub it could): nothing passes it.
    """

    source: Mapping[str, Any]
    program: CelProgram | None
    message: CelProgram | None
    path: Path
    broken: str = ""

    @property
    def text(self) -> str:
        return str(self.source.get("message") or self.source["rule"]).strip()

    @property
    def looks_back(self) -> bool:
        return self.program is not None and OLD in self.program.uses

    @property
    def optional(self) -> bool:
        return bool(self.source.get("optionalOldSelf"))


class RuleNode(msgspec.Struct, frozen=True):
    """The rules of one place of a schema, and the places below it that have any."""

    type: str
    rules: tuple[Rule, ...]
    convert: Convert | None
    properties: Mapping[str, RuleNode] = msgspec.field(default_factory=dict)
    items: RuleNode | None = None
    values: RuleNode | None = None
    keys: tuple[str, ...] | None = None
    """The keys by which elements of a list find their predecessors; None where they have none."""
    atomic: bool = False


def variables(of: Declaration, rule: Mapping[str, Any]) -> dict[str, Declaration]:
    """Return what a rule may use: `self`, and `oldSelf`, which is optional where the rule says so."""
    old = Declaration(optional_of(of.type), of.max_elements, of.min_size, of.element, of.fields) if rule.get("optionalOldSelf") else of
    return {SELF: of, OLD: old}


def compile_rules(schema: _Schema) -> RuleNode | None:
    """Return the rules of the schema of a whole object, None when there are none."""
    return _compile(schema, declare(schema, root=True), root=True)


def _compile(schema: _Schema, of: Declaration | None, *, root: bool = False) -> RuleNode | None:
    if of is None:
        return None
    properties: dict[str, RuleNode] = {}
    for name, part in (schema.get("properties") or {}).items():
        escaped = escape(name)
        inner = of.fields.get(escaped) if escaped else declare(part, root=is_resource(part), name=name)
        if inner is not None and not (root and name in ("apiVersion", "kind", "metadata")) and (node := _compile(part, inner)) is not None:
            properties[name] = node
    items, extra = schema.get("items"), schema.get("additionalProperties")
    element = _compile(items, of.element) if isinstance(items, Mapping) else None
    values = _compile(extra, of.element) if isinstance(extra, Mapping) else None
    rules = tuple(_rule(r, of) for r in schema.get("x-kubernetes-validations") or () if r.get("rule", "").strip())
    if not (rules or properties or element or values):
        return None
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ()) if schema.get("x-kubernetes-list-type") == "map" else None
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    convert = converter(schema, root=root) if rules else None
    return RuleNode(schema.get("type", ""), rules, convert, properties, element, values, keys, atomic)


def _rule(source: Mapping[str, Any], of: Declaration) -> Rule:
    types = {name: d.type for name, d in variables(of, source).items()}
    path = field_path(source.get("fieldPath") or "")
    try:
        message = CelProgram(source["messageExpression"], types) if source.get("messageExpression") else None
        return Rule(source, CelProgram(source["rule"], types), message, path)
    except CelSyntaxError as error:
        return Rule(source, None, None, path, str(error))


def check_rules(node: RuleNode, obj: Object, old: Object | None, *, budget: int = BUDGET) -> list[Cause]:
    """Return what the rules say against *obj*; when they cost more than *budget*, that is said and the rest is not run."""
    walk = _Walk(budget)
    walk.visit(node, None, obj, old)
    return walk.causes


class _ExhaustedError(Exception):
    """No further rule is run."""


class _Walk:
    def __init__(self, budget: int) -> None:
        self.causes: list[Cause] = []
        self._left = budget

    def visit(self, node: RuleNode, path: Path, value: Any, old: Any) -> None:
        try:
            self._visit(node, path, value, old)
        except _ExhaustedError:
            return

    def _visit(self, node: RuleNode, path: Path, value: Any, old: Any) -> None:
        if value is None:
            return
        if node.rules:
            self._run(node, path, value, old)
        if value.__class__ is dict:
            self._map(node, path, value, old if old.__class__ is dict and not node.atomic else {})
        elif value.__class__ is list and node.items is not None:
            before = _by_keys(old, node.keys)
            for i, element in enumerate(value):
                self._visit(node.items, (path, i), element, before(element))

    def _map(self, node: RuleNode, path: Path, value: Object, old: Object) -> None:
        for name, inner in node.properties.items():
            if name in value:
                self._visit(inner, (path, name), value[name], old.get(name))
        if node.values is not None:
            for key, element in value.items():
                self._visit(node.values, (path, (key,)), element, old.get(key))

    def _run(self, node: RuleNode, path: Path, value: Any, old: Any) -> None:
        unchanged = old is not None and value == old
        if unchanged and not any(r.looks_back for r in node.rules):
            return
        convert = node.convert or _same
        here = convert(value)
        before = convert(old) if old is not None else None
        for rule in node.rules:
            if rule.program is None:
                self._complain(path, node, f"rule compile error: {rule.broken}")
                continue
            names = {SELF: here}
            if rule.looks_back:
                if old is None and not rule.optional:
                    continue
                names[OLD] = before if not rule.optional else NOTHING if old is None else Optional(True, before)
            elif unchanged:
                continue
            self._judge(node, rule, path, names)

    def _judge(self, node: RuleNode, rule: Rule, path: Path, names: dict[str, Any]) -> None:
        assert rule.program is not None
        try:
            holds = self._evaluate(rule.program, names)
        except EvaluationError as error:
            self._complain(path, node, _failure(error, rule))
            return
        except CostError:
            self._complain(path, node, "validation failed due to running out of cost budget, no further validation rules will be run")
            raise _ExhaustedError from None
        if holds is not True:
            self.causes.append(_cause(rule, _below(path, rule.path), node.type, self._message(rule, names)))

    def _evaluate(self, program: CelProgram, names: dict[str, Any]) -> Any:
        value, cost = program.evaluate(names, limit=self._left)
        self._left -= cost
        return value

    def _complain(self, path: Path, node: RuleNode, why: str) -> None:
        self.causes.append(invalid_value(dotted(path), node.type, why))

    def _message(self, rule: Rule, names: dict[str, Any]) -> str:
        """Return what a broken rule says: its messageExpression where that gives one line, else its message."""
        if rule.message is not None:
            try:
                text = self._evaluate(rule.message, names)
            except (EvaluationError, CostError):
                text = ""
            text = text.strip() if isinstance(text, str) else ""
            if text and "\n" not in text and len(text.encode()) <= MAX_MESSAGE:
                return str(text)
        return rule.text if rule.source.get("message") else f"failed rule: {rule.text}"


def _same(value: Any) -> Any:
    return value


def _failure(error: EvaluationError, rule: Rule) -> str:
    if str(error).startswith("no such overload"):
        return f"'{error}': call arguments did not match a supported operator, function or macro signature for rule: {rule.text}"
    return f"{error} evaluating rule: {rule.text}"


def _below(path: Path, more: Path) -> Path:
    return path if more is None else (_below(path, more[0]), more[1])


def _cause(rule: Rule, path: Path, type_: str, message: str) -> Cause:
    at, reason = dotted(path), rule.source.get("reason")
    if reason == "FieldValueForbidden":
        return forbidden_field(at, message)
    if reason == "FieldValueRequired":
        return required(at, message)
    if reason == "FieldValueDuplicate":
        return Cause(at, "FieldValueDuplicate", f'Duplicate value: "{type_}"')
    return invalid_value(at, type_, message)


def _by_keys(old: Any, keys: tuple[str, ...] | None) -> Callable[[Any], Any]:
    """Return what finds the predecessor of an element: only lists with keys have such."""
    if keys is None or old.__class__ is not list:
        return lambda element: None
    before = {tuple(str(e.get(k)) for k in keys): e for e in old if e.__class__ is dict}
    return lambda element: before.get(tuple(str(element.get(k)) for k in keys)) if element.__class__ is dict else None
