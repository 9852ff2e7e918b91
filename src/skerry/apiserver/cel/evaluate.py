"""From a tree to a closure: each node becomes one Python function of a frame. What is run has been checked before.

Every step and every byte that is gone through counts against the frame's limit, so that no evaluation runs for long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skerry.apiserver.cel.errors import EvaluationError, no_such_overload
from skerry.apiserver.cel.frame import Frame, Lazy, Run
from skerry.apiserver.cel.functions import Function, find
from skerry.apiserver.cel.syntax import Bind, Call, Const, Ident, ListNode, Loop, MapNode, Node, Select
from skerry.apiserver.cel.values import NOTHING, Optional, TypeValue, UInt, Value, equal, map_get, type_name


def compile_node(node: Node, types: Mapping[str, str]) -> Run:
    """Return the function that evaluates *node*; *types* are names that stand for types (`int`)."""
    match node:
        case Const(value=value):
            return lambda frame: value
        case Ident(name=name):
            return _ident(name, types)
        case Select():
            return _select(node, types)
        case Call():
            return _call(node, types)
        case ListNode():
            return _list(node, types)
        case MapNode():
            return _map(node, types)
        case Loop():
            return _loop(node, types)
        case Bind():
            return _bind(node, types)


def _ident(name: str, types: Mapping[str, str]) -> Run:
    kind = TypeValue(types[name]) if name in types else None

    def run(frame: Frame) -> Value:
        frame.cost += 1
        try:
            found = frame.variables[name]
        except KeyError:
            if kind is not None:
                return kind
            raise EvaluationError(f"no such attribute(s): {name}") from None
        return found(frame) if found.__class__ is Lazy else found

    return run


def _select(node: Select, types: Mapping[str, str]) -> Run:
    operand, field = compile_node(node.operand, types), node.field
    if node.test:
        return _has(operand, field)
    if node.optional:
        return lambda frame: _maybe(operand(frame), field)

    def run(frame: Frame) -> Value:
        value = operand(frame)
        frame.cost += 1
        if value.__class__ is dict:
            try:
                found = value[field]
            except KeyError:
                raise EvaluationError(f"no such key: {field}") from None
            return found(frame) if found.__class__ is Lazy else found
        if value.__class__ is Optional:
            return _maybe(value, field)
        raise no_such_overload()

    return run


def _has(operand: Run, field: str) -> Run:
    def run(frame: Frame) -> Value:
        value = operand(frame)
        if value.__class__ is Optional:
            return value.present and value.value.__class__ is dict and field in value.value
        if value.__class__ is not dict:
            raise no_such_overload()
        return field in value

    return run


def _maybe(value: Value, key: Value) -> Value:
    if value.__class__ is Optional:
        if not value.present:
            return NOTHING
        value = value.value
    if value.__class__ is dict:
        there, found = map_get(value, key)
        return Optional(True, found) if there else NOTHING
    if value.__class__ is list:
        if key.__class__ not in (int, UInt):
            raise no_such_overload()
        return Optional(True, value[key]) if 0 <= key < len(value) else NOTHING
    raise no_such_overload()


def index(value: Value, key: Value) -> Value:
    """`value[key]`."""
    if value.__class__ is dict:
        there, found = map_get(value, key)
        if not there:
            raise EvaluationError(f"no such key: {key}")
        return found
    if value.__class__ is list:
        if key.__class__ is float and key.is_integer():
            key = int(key)
        if key.__class__ not in (int, UInt):
            raise EvaluationError("no such overload")
        if not 0 <= key < len(value):
            raise EvaluationError(f"index out of bounds: {key}")
        return value[key]
    if value.__class__ is Optional:
        return _maybe(value, key)
    raise no_such_overload()


def _call(node: Call, types: Mapping[str, str]) -> Run:
    args = [compile_node(a, types) for a in node.args]
    name = node.function
    if name == "_&&_":
        return _logic(args[0], args[1], absorbing=False)
    if name == "_||_":
        return _logic(args[0], args[1], absorbing=True)
    if name == "_?_:_":
        return _choice(*args)
    if name == "_[_]":
        left, right = args
        return lambda frame: index(left(frame), right(frame))
    if name == "_[?_]":
        left, right = args
        return lambda frame: _maybe(left(frame), right(frame))
    if name in ("_==_", "_!=_"):
        return _equality(args[0], args[1], same=name == "_==_")
    if name in ("or", "orValue") and node.target is not None:
        return _otherwise(compile_node(node.target, types), args[0], whole=name == "or")
    if node.target is not None:
        args.insert(0, compile_node(node.target, types))
    return _function(find(name, member=node.target is not None, arity=len(args)), args)


def _function(function: Function, args: list[Run]) -> Run:
    do, cost = function.do, function.cost
    if len(args) == 1:
        only = args[0]

        def one(frame: Frame) -> Value:
            value = only(frame)
            frame.spend(1 if cost is None else cost(value))
            return do(value)

        return one
    if len(args) == 2:
        left, right = args

        def two(frame: Frame) -> Value:
            x, y = left(frame), right(frame)
            frame.spend(1 if cost is None else cost(x, y))
            return do(x, y)

        return two

    def many(frame: Frame) -> Value:
        values = [a(frame) for a in args]
        frame.spend(1 if cost is None else cost(*values))
        return do(*values)

    return many


def size_of(value: Value) -> int:
    """Return about how many units it costs to go through a value."""
    if value.__class__ in (str, bytes):
        return len(value) // 10
    if value.__class__ is list:
        return len(value) + sum(map(size_of, value))
    if value.__class__ is dict:
        return len(value) + sum(map(size_of, value.values()))
    return 0


def _equality(left: Run, right: Run, *, same: bool) -> Run:
    def run(frame: Frame) -> Value:
        x, y = left(frame), right(frame)
        if x.__class__ in (list, dict):
            frame.spend(1 + min(size_of(x), size_of(y)))
        else:
            frame.cost += 1
        return equal(x, y) is same

    return run


def _otherwise(target: Run, other: Run, *, whole: bool) -> Run:
    def run(frame: Frame) -> Value:
        value = target(frame)
        frame.cost += 1
        if value.__class__ is not Optional:
            raise no_such_overload()
        if value.present:
            return value if whole else value.value
        return other(frame)

    return run


def _logic(left: Run, right: Run, *, absorbing: bool) -> Run:
    """`&&` (absorbed by false) and `||` (by true): an error on one side counts only if the other side does not decide."""

    def run(frame: Frame) -> Value:
        try:
            first = left(frame)
            if first is absorbing:
                return first
            failure = None if first.__class__ is bool else no_such_overload()
        except EvaluationError as error:
            failure = error
        second = right(frame)
        if second is absorbing:
            return second
        if failure is not None:
            raise failure
        if second.__class__ is not bool:
            raise no_such_overload()
        return second

    return run


def _choice(condition: Run, yes: Run, no: Run) -> Run:
    def run(frame: Frame) -> Value:
        chosen = condition(frame)
        if chosen.__class__ is not bool:
            raise no_such_overload()
        return yes(frame) if chosen else no(frame)

    return run


def _list(node: ListNode, types: Mapping[str, str]) -> Run:
    elements = [(compile_node(e, types), i in node.optional) for i, e in enumerate(node.elements)]

    def run(frame: Frame) -> Value:
        frame.spend(10)
        found = []
        for element, optional in elements:
            value = element(frame)
            if not optional:
                found.append(value)
            elif value.present:
                found.append(value.value)
        return found

    return run


def _map(node: MapNode, types: Mapping[str, str]) -> Run:
    entries = [(compile_node(k, types), compile_node(v, types), i in node.optional) for i, (k, v) in enumerate(node.entries)]

    def run(frame: Frame) -> Value:
        frame.spend(30)
        found: dict[Any, Any] = {}
        for key, value, optional in entries:
            k, v = key(frame), value(frame)
            if k.__class__ not in (str, int, bool, UInt):
                raise EvaluationError(f"unsupported key type: {type_name(k)}")
            if map_get(found, k)[0]:
                raise EvaluationError(f"Failed with repeated key: {k}")
            if not optional:
                found[k] = v
            elif v.present:
                found[k] = v.value
        return found

    return run


def _loop(node: Loop, types: Mapping[str, str]) -> Run:
    over, body = compile_node(node.over, types), compile_node(node.body, types)
    guard = compile_node(node.guard, types) if node.guard is not None else None
    steps = {"all": _all, "exists": _exists, "exists_one": _exists_one, "filter": _filter, "map": _mapped}
    run_over = steps[node.macro](body, guard)
    name = node.variable

    def run(frame: Frame) -> Value:
        elements = over(frame)
        if elements.__class__ not in (list, dict):
            raise no_such_overload()
        variables = frame.variables
        before = variables.get(name, _ABSENT)
        try:
            return run_over(frame, name, elements)
        finally:
            if before is _ABSENT:
                variables.pop(name, None)
            else:
                variables[name] = before

    return run


_ABSENT: Any = object()
Step = Callable[[Frame, str, Any], Value]


def _all(body: Run, guard: Run | None) -> Step:
    return _decide(body, absorbing=False)


def _exists(body: Run, guard: Run | None) -> Step:
    return _decide(body, absorbing=True)


def _decide(body: Run, *, absorbing: bool) -> Step:
    def run(frame: Frame, name: str, elements: Any) -> Value:
        failure: EvaluationError | None = None
        for element in elements:
            frame.variables[name] = element
            frame.spend(3)
            try:
                found = body(frame)
            except EvaluationError as error:
                failure = error
                continue
            if found is absorbing:
                return absorbing
            if found.__class__ is not bool:
                failure = no_such_overload()
        if failure is not None:
            raise failure
        return not absorbing

    return run


def _chosen(body: Run, frame: Frame, name: str, element: Value) -> bool:
    frame.variables[name] = element
    frame.spend(3)
    found = body(frame)
    if found.__class__ is not bool:
        raise no_such_overload()
    return bool(found)


def _exists_one(body: Run, guard: Run | None) -> Step:
    return lambda frame, name, elements: sum(_chosen(body, frame, name, e) for e in elements) == 1


def _filter(body: Run, guard: Run | None) -> Step:
    return lambda frame, name, elements: [e for e in elements if _chosen(body, frame, name, e)]


def _mapped(body: Run, guard: Run | None) -> Step:
    def run(frame: Frame, name: str, elements: Any) -> Value:
        found = []
        for element in elements:
            frame.variables[name] = element
            frame.spend(3)
            if guard is None or _chosen(guard, frame, name, element):
                found.append(body(frame))
        return found

    return run


def _bind(node: Bind, types: Mapping[str, str]) -> Run:
    target, body, name, flat = compile_node(node.target, types), compile_node(node.body, types), node.variable, node.flat

    def run(frame: Frame) -> Value:
        value = target(frame)
        if value.__class__ is not Optional:
            raise no_such_overload()
        if not value.present:
            return NOTHING
        before = frame.variables.get(name, _ABSENT)
        frame.variables[name] = value.value
        try:
            found = body(frame)
        finally:
            if before is _ABSENT:
                frame.variables.pop(name, None)
            else:
                frame.variables[name] = before
        return found if flat else Optional(True, found)

    return run
