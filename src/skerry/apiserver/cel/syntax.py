"""CEL's grammar: a source becomes a tree of nodes, macros expanded. Every node knows its place, for messages.

Source: github.com/google/cel-spec, doc/langdef.md; places are those that cel-go reports. Size and depth are bounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Const(msgspec.Struct, frozen=True):
    at: int
    value: object


class Ident(msgspec.Struct, frozen=True):
    at: int
    name: str


class Select(msgspec.Struct, frozen=True):
    """`operand.field`; `test` asks whether it is there, `optional` gives an optional value."""

    at: int
    operand: Node
    field: str
    test: bool = False
    optional: bool = False


class Call(msgspec.Struct, frozen=True):
    """A function or operator; `target` is what stands before the dot of a member call."""

    at: int
    function: str
    args: tuple[Node, ...]
    target: Node | None = None


class ListNode(msgspec.Struct, frozen=True):
    at: int
    elements: tuple[Node, ...]
    optional: frozenset[int] = frozenset()


class MapNode(msgspec.Struct, frozen=True):
    at: int
    entries: tuple[tuple[Node, Node], ...]
    optional: frozenset[int] = frozenset()


class Loop(msgspec.Struct, frozen=True):
    """A macro over the elements of a list or the keys of a map: all, exists, exists_one, map, filter.

    `guard` is the condition of the three-argument map; `body` is the condition, or what map makes.
    """

    at: int
    macro: str
    over: Node
    variable: str
    body: Node
    guard: Node | None = None


class Bind(msgspec.Struct, frozen=True):
    """`target.optMap(variable, body)`; with `flat` the body is optional itself."""

    at: int
    target: Node
    variable: str
    body: Node
    flat: bool


Node = Const | Ident | Select | Call | ListNode | MapNode | Loop | Bind


def children(node: Node) -> Sequence[Node]:
    """Return the parts of *node* in the order in which they are evaluated."""
    match node:
        case Select(operand=operand):
            return (operand,)
        case Call(args=args, target=target):
            return args if target is None else (target, *args)
        case ListNode(elements=elements):
            return elements
        case MapNode(entries=entries):
            return [part for entry in entries for part in entry]
        case Loop(over=over, body=body, guard=guard):
            return (over, body) if guard is None else (over, guard, body)
        case Bind(target=target, body=body):
            return (target, body)
    return ()


def names(node: Node) -> frozenset[str]:
    """Return every free identifier of the tree, bound variables of macros included where they are used."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Ident):
            found.add(here.name)
        waiting += children(here)
    return frozenset(found)
