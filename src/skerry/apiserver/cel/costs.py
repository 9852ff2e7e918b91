"""What an expression can cost at most, before it is ever run: the units are those that an evaluation counts.

Sizes come from the schema's limits, so a rule over a list without `maxItems` costs what the largest list costs that fits into
a request. The estimate errs on the high side. Source of the weights: cel-go's checker/cost.go and Kubernetes' library costs.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from skerry.apiserver.cel import functions
from skerry.apiserver.cel.check import Checked
from skerry.apiserver.cel.declarations import MAX_REQUEST, Declaration
from skerry.apiserver.cel.syntax import Bind, Call, Const, Ident, ListNode, Loop, MapNode, Node, Select
from skerry.apiserver.cel.types import DYN, Type

MOST = 2**63 - 1
_STEP = {"all": 4, "exists": 5, "exists_one": 3, "filter": 14, "map": 13}
_COMPARED = frozenset(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"))
_THROUGH = frozenset(("isSorted", "min", "max", "sum", "indexOf", "lastIndexOf", "join"))
_SIZED = frozenset(("string", "bytes", "list", "map", "dyn"))
_KEY = 64
"""About how long a key of a map is."""


class Estimate(msgspec.Struct, frozen=True):
    """Cost so far, and how large the value can be; `of` is what the schema says about it, `element` of its elements."""

    cost: int
    size: int = 1
    of: Declaration | None = None
    element: Estimate | None = None


class _Size:
    """Stands for a value of which only the size is known."""

    def __init__(self, size: int) -> None:
        self._size = min(size, MOST)

    def __len__(self) -> int:
        return self._size


def estimate(checked: Checked, variables: Mapping[str, Declaration]) -> int:
    """Return the greatest cost of a program, at most `MOST`."""
    scope = {name: _value(d) for name, d in variables.items()}
    return min(_Estimator(checked, scope).visit(checked.node).cost, MOST)


def _value(of: Declaration | None, cost: int = 0) -> Estimate:
    return Estimate(cost, _KEY if of is None else max(of.max_elements, 1), of)


class _Estimator:
    def __init__(self, checked: Checked, scope: dict[str, Estimate]) -> None:
        self._types, self._scope = checked.types, scope

    def visit(self, node: Node) -> Estimate:
        match node:
            case Const(value=value):
                return Estimate(0, len(value) if isinstance(value, (str, bytes)) else 1)
            case Ident(name=name):
                there = self._scope.get(name)
                return Estimate(1) if there is None else Estimate(1, there.size, there.of, there.element)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListNode(elements=elements):
                parts = [self.visit(e) for e in elements]
                return Estimate(10 + sum(p.cost for p in parts), len(parts), None, _largest(parts))
            case MapNode(entries=entries):
                keys, values = [self.visit(k) for k, _ in entries], [self.visit(v) for _, v in entries]
                return Estimate(30 + sum(p.cost for p in (*keys, *values)), len(keys), None, _largest(values))
            case Loop():
                return self._loop(node)
            case Bind():
                return self._bind(node)

    def _type(self, node: Node) -> Type:
        return self._types.get(id(node), DYN)

    def _select(self, node: Select) -> Estimate:
        operand = self.visit(node.operand)
        found: Declaration | None = None
        if operand.of is not None:
            found = operand.of.fields.get(node.field) if operand.of.fields else operand.of.element
        if operand.of is None and operand.element is not None and not node.test:
            return Estimate(operand.cost + 1, operand.element.size, operand.element.of, operand.element.element)
        # Whether a field is there costs nothing in Kubernetes, in an evaluation neither.
        return Estimate(operand.cost, 1) if node.test else _value(found, operand.cost + 1)

    def _element(self, of: Estimate) -> Estimate:
        if of.of is not None:
            return _value(of.of.element)
        return of.element or Estimate(0, _KEY)

    def _call(self, node: Call) -> Estimate:
        nodes = (*((node.target,) if node.target is not None else ()), *node.args)
        parts = [self.visit(n) for n in nodes]
        total = sum(p.cost for p in parts)
        name = node.function
        if name in ("_&&_", "_||_"):
            return Estimate(total)
        if name == "_?_:_":
            larger = max(parts[1], parts[2], key=lambda p: p.size)
            return Estimate(parts[0].cost + max(parts[1].cost, parts[2].cost), larger.size, larger.of, larger.element)
        if name in ("_[_]", "_[?_]"):
            inner = self._element(parts[0])
            return Estimate(total + 1, inner.size, inner.of, inner.element)
        if name in ("orValue", "or", "value", "optional.of", "optional.ofNonZeroValue", "dyn"):
            first = max(parts, key=lambda p: p.size)
            return Estimate(total + 1, first.size, first.of, first.element)
        return self._function(name, nodes, parts, total)

    def _function(self, name: str, nodes: tuple[Node, ...], parts: list[Estimate], total: int) -> Estimate:
        sizes = [p.size if self._type(n).name in _SIZED else 1 for n, p in zip(nodes, parts, strict=True)]
        kind = self._type(nodes[0]).name if nodes else ""
        if name in _COMPARED:
            return Estimate(total + 1 + min(sizes) // 10 * (10 if kind in ("list", "map") else 1))
        if name == "@in":
            return Estimate(total + 1 + (sizes[1] if self._type(nodes[1]).name != "map" else 0))
        if name in _THROUGH and kind in ("list", "dyn"):
            each = self._element(parts[0])
            text = min(sizes[0] * (each.size + 1), MAX_REQUEST) if parts[0].of is not None else sizes[0] * (each.size + 1)
            return Estimate(total + 1 + sizes[0] + text // 10, text, None, each)
        if name in ("sets.contains", "sets.equivalent", "sets.intersects"):
            return Estimate(total + 1 + sizes[0] * sizes[1])
        return Estimate(total + _own_cost(name, sizes), _result_size(name, sizes), None, self._result_element(name, sizes, parts))

    @staticmethod
    def _result_element(name: str, sizes: list[int], parts: list[Estimate]) -> Estimate | None:
        if name in ("split", "findAll"):
            return Estimate(0, sizes[0])
        return parts[0].element if parts else None

    def _loop(self, node: Loop) -> Estimate:
        over = self.visit(node.over)
        is_map = self._type(node.over).name == "map"
        variable = Estimate(0, _KEY) if is_map else self._element(over)
        before = self._scope.get(node.variable)
        self._scope[node.variable] = variable
        body = self.visit(node.body)
        guard = self.visit(node.guard).cost if node.guard is not None else 0
        if before is None:
            del self._scope[node.variable]
        else:
            self._scope[node.variable] = before
        cost = over.cost + 1 + over.size * (_STEP[node.macro] + body.cost + guard)
        if node.macro == "map":
            return Estimate(cost, over.size, None, Estimate(0, body.size, body.of, body.element))
        return Estimate(cost, over.size, None, variable) if node.macro == "filter" else Estimate(cost)

    def _bind(self, node: Bind) -> Estimate:
        target = self.visit(node.target)
        before = self._scope.get(node.variable)
        self._scope[node.variable] = target
        body = self.visit(node.body)
        if before is None:
            del self._scope[node.variable]
        else:
            self._scope[node.variable] = before
        return Estimate(target.cost + body.cost + 1, body.size, body.of, body.element)


def _own_cost(name: str, sizes: list[int]) -> int:
    for member in (False, True):
        function = functions.look_up(name, member=member, arity=len(sizes))
        if function is not None and function.cost is not None:
            return int(function.cost(*map(_Size, sizes)))
    return 1


def _result_size(name: str, sizes: list[int]) -> int:
    if name == "_+_":
        return sum(sizes)
    if name == "replace":
        return sizes[0] * max(1, sizes[2])
    if name == "format":
        return sizes[0] + MAX_REQUEST
    return sizes[0] if sizes else 1


def _largest(parts: list[Estimate]) -> Estimate | None:
    return max(parts, key=lambda p: p.size) if parts else None
