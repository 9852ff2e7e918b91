"""The type checker: what an expression means before it is ever run. Complaints are worded and placed as cel-go's.

The result keeps the type of every node, which the estimate of costs reads. Names like `optional.of` are resolved here: a call
on what is no variable is a call of a function with a dotted name.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from skerry.apiserver.cel import functions
from skerry.apiserver.cel.errors import CelSyntaxError, Issue
from skerry.apiserver.cel.library_strings import check_pattern
from skerry.apiserver.cel.syntax import Bind, Call, Const, Ident, ListNode, Loop, MapNode, Node, Select
from skerry.apiserver.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    INT,
    NULL,
    STRING,
    TYPE,
    UINT,
    Bindings,
    Type,
    assign,
    join,
    list_of,
    map_of,
    optional_of,
    resolve,
)  # fmt: skip
from skerry.apiserver.cel.values import UInt

TYPE_NAMES = {
    "int": "int", "uint": "uint", "double": "double", "string": "string", "bytes": "bytes", "bool": "bool", "list": "list",
    "map": "map", "null_type": "null_type", "type": "type", "optional_type": "optional_type",
}  # fmt: skip
_CONSTANTS = {bool: BOOL, int: INT, UInt: UINT, float: DOUBLE, str: STRING, bytes: BYTES, type(None): NULL}
_INDEXED = ("_[_]", "_[?_]")


class Checked:
    """A tree that is known to be well typed: `type` is that of the whole, `types` those of its nodes (by identity)."""

    def __init__(self, node: Node, type_: Type, types: dict[int, Type]) -> None:
        self.node, self.type, self.types = node, type_, types


def check(source: str, node: Node, variables: Mapping[str, Type]) -> Checked:
    """Give every node its type; raises CelSyntaxError with everything that is wrong."""
    checker = _Checker(dict(variables))
    checked, type_ = checker.visit(node)
    if checker.issues:
        raise CelSyntaxError(source, sorted(checker.issues, key=lambda i: i.at))
    return Checked(checked, type_, checker.types)


class _Checker:
    def __init__(self, variables: dict[str, Type]) -> None:
        self._scope = variables
        self.issues: list[Issue] = []
        self.types: dict[int, Type] = {}
        self._kept: list[Node] = []
        self._mixed = 0

    def visit(self, node: Node) -> tuple[Node, Type]:
        """Return the node with names resolved, and its type; after a complaint the type is dyn."""
        match node:
            case Const(value=value):
                found: tuple[Node, Type] = node, _CONSTANTS[type(value)]
            case Ident():
                found = node, self._ident(node)
            case Select():
                found = self._select(node)
            case Call():
                found = self._call(node)
            case ListNode():
                found = self._list(node)
            case MapNode():
                found = self._map(node)
            case Loop():
                found = self._loop(node)
            case Bind():
                found = self._bind(node)
        self.types[id(found[0])] = found[1]
        self._kept.append(found[0])
        return found

    def _wrong(self, at: int, why: str) -> Type:
        self.issues.append(Issue(at, why))
        return DYN

    def _ident(self, node: Ident) -> Type:
        found = self._scope.get(node.name)
        if found is None:
            return TYPE if node.name in TYPE_NAMES else self._wrong(node.at, f"undeclared reference to '{node.name}' (in container '')")
        return found

    def _select(self, node: Select) -> tuple[Node, Type]:
        if isinstance(node.operand, Ident) and (dotted := f"{node.operand.name}.{node.field}") in self._scope:
            return Ident(node.at, dotted), self._scope[dotted]
        operand, type_ = self.visit(node.operand)
        found = replace(node, operand=operand)
        through = type_.name == "optional_type"
        inner = type_.params[0] if through else type_
        field = self._field(node, inner)
        if node.test:
            return found, BOOL
        if (node.optional or through) and field.name != "optional_type":
            field = optional_of(field)
        return found, field

    def _field(self, node: Select, of: Type) -> Type:
        if of == DYN:
            return DYN
        if of.name == "map":
            return of.params[1]
        if of.fields is None:
            return self._wrong(node.at, f"type '{of}' does not support field selection")
        field = of.fields.get(node.field)
        return self._wrong(node.at, f"undefined field '{node.field}'") if field is None else field

    def _call(self, node: Call) -> tuple[Node, Type]:
        dotted = self._dotted(node)
        if dotted is not None:
            node = dotted
        args: list[Node] = []
        types: list[Type] = []
        if node.target is not None:
            target, type_ = self.visit(node.target)
            node = replace(node, target=target)
            types.append(type_)
        self._mixed += node.function in ("format", "dyn")  # their lists may mix types
        for arg in node.args:
            checked, type_ = self.visit(arg)
            args.append(checked)
            types.append(type_)
        self._mixed -= node.function in ("format", "dyn")
        node = replace(node, args=tuple(args))
        return node, self._result(node, types)

    def _dotted(self, node: Call) -> Call | None:
        """Return `optional.of(x)` as the call of a function of that name; None for a call on a value."""
        if not isinstance(node.target, Ident) or node.target.name in self._scope:
            return None
        name = f"{node.target.name}.{node.function}"
        return Call(node.at, name, node.args) if functions.is_known(name) else None

    def _result(self, node: Call, types: list[Type]) -> Type:
        name = node.function
        if name == "_?_:_":
            return self._choice(node, types)
        if name in ("_&&_", "_||_"):
            return BOOL if all(t in (BOOL, DYN) for t in types) else self._no_match(node, types)
        if name in ("_==_", "_!=_"):
            return BOOL if assign(types[0], types[1], {}) or assign(types[1], types[0], {}) else self._no_match(node, types)
        if name in _INDEXED:
            return self._indexed(node, types)
        if name in ("or", "orValue") and node.target is not None and len(types) == 2:
            return self._otherwise(node, types)
        function = functions.look_up(name, member=node.target is not None, arity=len(types))
        if function is None:
            if functions.is_known(name):
                return self._no_match(node, types)
            return self._wrong(node.at, f"undeclared reference to '{name}' (in container '')")
        self._literal_pattern(node)
        results = [r for o in function.overloads if (r := _matched(o, types)) is not None]
        if not results:
            return self._no_match(node, types)
        return results[0] if all(r == results[0] for r in results) else DYN

    def _literal_pattern(self, node: Call) -> None:
        if node.function in ("matches", "find", "findAll") and node.args:
            pattern = node.args[0 if node.target is not None else -1]
            if isinstance(pattern, Const) and isinstance(pattern.value, str) and (why := check_pattern(pattern.value)):
                self._wrong(pattern.at, f"invalid matches argument: error parsing regexp: {why}")

    def _no_match(self, node: Call, types: list[Type]) -> Type:
        own = types[1:] if node.target is not None else types
        applied = (f"{types[0]}." if node.target is not None else "") + f"({', '.join(map(str, own))})"
        return self._wrong(node.at, f"found no matching overload for '{node.function}' applied to '{applied}'")

    def _choice(self, node: Call, types: list[Type]) -> Type:
        both = join(types[1], types[2])
        if types[0] not in (BOOL, DYN) or both is None:
            return self._no_match(node, types)
        return both

    def _indexed(self, node: Call, types: list[Type]) -> Type:
        of, key = types
        through = of.name == "optional_type"
        inner = of.params[0] if through else of
        if inner == DYN:
            found = DYN
        elif inner.name == "list" and key in (INT, DYN):
            found = inner.params[0]
        elif inner.name == "map" and assign(inner.params[0], key, {}):
            found = inner.params[1]
        else:
            return self._no_match(node, types)
        return optional_of(found) if through or node.function == "_[?_]" else found

    def _otherwise(self, node: Call, types: list[Type]) -> Type:
        target, other = types
        if target == DYN:
            return DYN
        wanted = target if node.function == "or" else target.params[0] if target.params else None
        both = None if wanted is None or target.name != "optional_type" else join(wanted, other)
        return self._no_match(node, types) if both is None else both

    def _list(self, node: ListNode) -> tuple[Node, Type]:
        elements, type_ = [], None
        for i, element in enumerate(node.elements):
            checked, found = self.visit(element)
            if i in node.optional:
                found = self._unwrapped(element, found)
            type_ = self._same(element, type_, found)
            elements.append(checked)
        return replace(node, elements=tuple(elements)), list_of(type_ or DYN)

    def _map(self, node: MapNode) -> tuple[Node, Type]:
        entries, keys, values = [], None, None
        for i, (key, value) in enumerate(node.entries):
            k, key_type = self.visit(key)
            v, value_type = self.visit(value)
            if i in node.optional:
                value_type = self._unwrapped(value, value_type)
            keys, values = self._same(key, keys, key_type), self._same(value, values, value_type)
            entries.append((k, v))
        return replace(node, entries=tuple(entries)), map_of(keys or DYN, values or DYN)

    def _unwrapped(self, node: Node, found: Type) -> Type:
        if found == DYN:
            return DYN
        return (
            found.params[0] if found.name == "optional_type" else self._wrong(node.at, f"expected type 'optional_type' but found '{found}'")
        )

    def _same(self, node: Node, before: Type | None, found: Type) -> Type:
        """Elements of one literal have one type, as Kubernetes wants it."""
        if before is None:
            return found
        both = join(before, found) or (DYN if self._mixed else None)
        return self._wrong(node.at, f"expected type '{before}' but found '{found}'") if both is None else both

    def _loop(self, node: Loop) -> tuple[Node, Type]:
        over, type_ = self.visit(node.over)
        if type_.name not in ("list", "map") and type_ != DYN:
            self._wrong(node.over.at, f"expression of type '{type_}' cannot be range of a comprehension (must be list, map, or dynamic)")
        element = type_.params[0] if type_.params else DYN
        before = self._scope.get(node.variable)
        self._scope[node.variable] = element
        guard = None
        if node.guard is not None:
            guard, guard_type = self.visit(node.guard)
            if guard_type not in (BOOL, DYN):
                self._wrong(node.guard.at, f"found no matching overload for '_?_:_' applied to '({guard_type}, list(dyn), list(dyn))'")
        body, body_type = self.visit(node.body)
        self._restore(node.variable, before)
        found = replace(node, over=over, body=body, guard=guard)
        if node.macro == "map":
            return found, list_of(body_type)
        if body_type not in (BOOL, DYN):
            self._wrong(node.body.at, f"expected type 'bool' but found '{body_type}'")
        return found, list_of(element) if node.macro == "filter" else BOOL

    def _bind(self, node: Bind) -> tuple[Node, Type]:
        target, type_ = self.visit(node.target)
        if type_.name != "optional_type" and type_ != DYN:
            name = "optFlatMap" if node.flat else "optMap"
            self._wrong(node.at, f"found no matching overload for '{name}' applied to '{type_}.(dyn)'")
        before = self._scope.get(node.variable)
        self._scope[node.variable] = type_.params[0] if type_.params else DYN
        body, body_type = self.visit(node.body)
        self._restore(node.variable, before)
        return replace(node, target=target, body=body), body_type if node.flat else optional_of(body_type)

    def _restore(self, name: str, before: Type | None) -> None:
        if before is None:
            del self._scope[name]
        else:
            self._scope[name] = before


def _matched(overload: functions.Overload, types: list[Type]) -> Type | None:
    bound: Bindings = {}
    if all(assign(wanted, given, bound) for wanted, given in zip(overload.args, types, strict=True)):
        return resolve(overload.result, bound)
    return None
