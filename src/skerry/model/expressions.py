"""A stated subset of CEL over the properties of one device: parsed and typed once, evaluated anywhere, no I/O.

What must stay true: an accepted expression gives the answer that a full CEL engine gives (`docs/reference/expressions.md`
states the subset, the tests compare with an engine); size, depth and cost are bounded by the limits below; evaluation never
raises, since what cannot be computed is a `Failure` value. Source: github.com/google/cel-spec, doc/langdef.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from skerry.model import _evaluation as evaluation
from skerry.model._evaluation import Failure, Kind, Result, Run, Value

__all__ = ["MAX_DEPTH", "MAX_SOURCE", "RESERVED", "Expression", "ExpressionError", "Failure", "Kind", "Result", "Value", "parse"]

MAX_SOURCE = 1024
"""Characters; with it every later cost is bounded, strings only grow by concatenation of what stands in the source."""
MAX_DEPTH = 24

# fmt: off
RESERVED = frozenset({
    "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop", "namespace",
    "null", "package", "return", "true", "var", "void", "while",
})
# fmt: on
_NUMERIC = ("double", "int")
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
    | (?P<int>0[xX][0-9a-fA-F]+|\d+)
    | (?P<string>"(?:[^"\\\n\r]|\\.)*"|'(?:[^'\\\n\r]|\\.)*')
    | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
    | (?P<op>\|\||&&|[<>=!]=|[-+*/%<>!?:.,()\[\]])
    )""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v", "?": "?", "`": "`"}


class ExpressionError(ValueError):
    """Not an expression of the subset; the message names the position and what was met."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A typed expression: `names` are the properties it reads."""

    source: str
    kind: Kind
    names: frozenset[str]
    _run: Run = field(compare=False, repr=False)

    def evaluate(self, values: Mapping[str, Value]) -> Result:
        """Return the value, or a Failure: a value is missing or of another type, a number overflows, a division by zero."""
        return self._run(values)


def parse(source: str, kinds: Mapping[str, Kind]) -> Expression:
    """Read *source*, in which the names of *kinds* may occur; raises ExpressionError."""
    if len(source) > MAX_SOURCE:
        raise ExpressionError(f"has {len(source)} characters, the limit is {MAX_SOURCE}")
    parser = _Parser(_tokens(source), kinds)
    node = parser.expression()
    parser.expect_end()
    if node.kind == "list":
        raise ExpressionError("a list is only supported on the right of `in` and in size()")
    return Expression(source, node.kind, frozenset(parser.names), node.run)


class _Token(msgspec.Struct, frozen=True):
    type: str
    text: str
    at: int


class _Node(msgspec.Struct, frozen=True):
    kind: Kind | Literal["list"]
    run: Run
    items: tuple[_Node, ...] = ()


def _tokens(source: str) -> list[_Token]:
    found, position = [], 0
    text = source.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or not match.lastgroup:
            raise ExpressionError(f"position {position + 1}: cannot read {text[position:].lstrip()[:12]!r}")
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup) + 1))
        position = match.end()
    return [*found, _Token("end", "the end", len(text) + 1)]


class _Parser:
    """Recursive descent over CEL's grammar; each method returns a typed node."""

    def __init__(self, tokens: list[_Token], kinds: Mapping[str, Kind]) -> None:
        self._tokens = tokens
        self._kinds = kinds
        self._at = 0
        self._depth = 0
        self.names: set[str] = set()

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *texts: str) -> _Token | None:
        token = self._next
        if token.text in texts and token.type in ("op", "name"):
            self._at += 1
            return token
        return None

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._error(f"expected {text!r}, found {self._next.text!r}")

    def _error(self, why: str, token: _Token | None = None) -> ExpressionError:
        return ExpressionError(f"position {(token or self._next).at}: {why}")

    def expect_end(self) -> None:
        if self._next.type != "end":
            raise self._error(f"expected the end, found {self._next.text!r}")

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH}")

    def expression(self) -> _Node:
        self._enter()
        start = self._next
        node = self._or()
        if self._take("?"):
            if node.kind != "bool":
                raise self._error(f"the condition of ?: must be bool, not {node.kind}", start)
            then = self._or()
            self._expect(":")
            other = self.expression()
            if then.kind != other.kind or then.kind == "list":
                raise self._error(f"both sides of ?: must have one type, not {then.kind} and {other.kind}", start)
            node = _Node(then.kind, evaluation.choice(node.run, then.run, other.run))
        self._depth -= 1
        return node

    def _or(self) -> _Node:
        node = self._and()
        while op := self._take("||"):
            node = self._logic(op, node, self._and(), stop=True)
        return node

    def _and(self) -> _Node:
        node = self._relation()
        while op := self._take("&&"):
            node = self._logic(op, node, self._relation(), stop=False)
        return node

    def _logic(self, op: _Token, left: _Node, right: _Node, *, stop: bool) -> _Node:
        if (left.kind, right.kind) != ("bool", "bool"):
            raise self._error(f"{op.text} needs bool on both sides, not {left.kind} and {right.kind}", op)
        return _Node("bool", evaluation.logic(left.run, right.run, stop=stop))

    def _relation(self) -> _Node:
        node = self._sum()
        while op := self._take("<", "<=", ">", ">=", "==", "!=", "in"):
            right = self._sum()
            if op.text == "in":
                node = self._member(op, node, right)
                continue
            if not _comparable(node, right):
                raise self._error(f"cannot compare {node.kind} {op.text} {right.kind}", op)
            node = _Node("bool", evaluation.binary(node.run, right.run, evaluation.COMPARE[op.text]))
        return node

    def _member(self, op: _Token, left: _Node, right: _Node) -> _Node:
        if right.kind != "list":
            raise self._error(f"`in` needs a list such as ['a', 'b'] on the right, not {right.kind}", op)
        for item in right.items:
            if not _comparable(left, item):
                raise self._error(f"cannot look for {left.kind} among {item.kind}", op)
        return _Node("bool", evaluation.contained(left.run, [i.run for i in right.items]))

    def _sum(self) -> _Node:
        node = self._product()
        while op := self._take("+", "-"):
            node = self._arithmetic(op, node, self._product())
        return node

    def _product(self) -> _Node:
        node = self._unary()
        while op := self._take("*", "/", "%"):
            node = self._arithmetic(op, node, self._unary())
        return node

    def _arithmetic(self, op: _Token, left: _Node, right: _Node) -> _Node:
        run = evaluation.ARITHMETIC.get((op.text, left.kind)) if left.kind == right.kind else None
        if run is None:
            hint = " (write 100.0 for a double)" if {left.kind, right.kind} == {"int", "double"} else ""
            raise self._error(f"{op.text} is not defined for {left.kind} and {right.kind}{hint}", op)
        return _Node(left.kind, evaluation.binary(left.run, right.run, run))

    def _unary(self) -> _Node:
        op = self._take("!", "-")
        if op is None:
            return self._call()
        self._enter()
        if op.text == "-" and self._next.type == "int":
            node = self._call(sign=-1)
        else:
            node = self._unary()
            node = self._negated(op, node)
        self._depth -= 1
        return node

    def _negated(self, op: _Token, node: _Node) -> _Node:
        if op.text == "!" and node.kind == "bool":
            return _Node("bool", evaluation.single(node.run, lambda v: not v))
        if op.text == "-" and node.kind in _NUMERIC:
            return _Node(node.kind, evaluation.single(node.run, lambda v: evaluation.bounded(-v) if not isinstance(v, str) else v))
        raise self._error(f"{op.text} is not defined for {node.kind}", op)

    def _call(self, *, sign: int = 1) -> _Node:
        node = self._primary(sign)
        while self._take("."):
            method = self._next
            if method.type != "name":
                raise self._error(f"expected a method, found {method.text!r}")
            self._at += 1
            self._expect("(")
            node = self._size(method, node) if method.text == "size" else self._text_test(method, node)
            self._expect(")")
        return node

    def _text_test(self, method: _Token, node: _Node) -> _Node:
        test = evaluation.METHODS.get(method.text)
        if test is None:
            raise self._error(f"no method {method.text!r}: startsWith, endsWith, contains and size are supported", method)
        argument = self.expression()
        if (node.kind, argument.kind) != ("string", "string"):
            raise self._error(f"{method.text} is for strings, not {node.kind} and {argument.kind}", method)
        return _Node("bool", evaluation.binary(node.run, argument.run, test))

    def _size(self, token: _Token, node: _Node) -> _Node:
        if node.kind == "list":
            return _Node("int", evaluation.counted([i.run for i in node.items]))
        if node.kind != "string":
            raise self._error(f"size is for strings and lists, not {node.kind}", token)
        return _Node("int", evaluation.single(node.run, lambda v: len(str(v))))

    def _primary(self, sign: int) -> _Node:
        token = self._next
        self._at += token.type != "end"
        if token.type == "int":
            return _constant("int", self._integer(token, sign))
        if token.type == "double":
            return _constant("double", self._double(token))
        if token.type == "string":
            return _constant("string", self._string(token))
        if token.type == "name":
            return self._name(token)
        if token.text == "(":
            node = self.expression()
            self._expect(")")
            return node
        if token.text == "[":
            return self._list()
        raise self._error(f"expected a value, found {token.text!r}", token)

    def _list(self) -> _Node:
        items: list[_Node] = []
        while not self._take("]"):
            if items:
                self._expect(",")
            item = self.expression()
            if item.kind == "list":
                raise self._error("a list in a list is not supported")
            items.append(item)
        return _Node("list", lambda _: Failure("a list is no value"), tuple(items))

    def _name(self, token: _Token) -> _Node:
        name = token.text
        if name in ("true", "false"):
            return _constant("bool", name == "true")
        if name == "size" and self._take("("):
            node = self._size(token, self.expression())
            self._expect(")")
            return node
        kind = self._kinds.get(name)
        if kind is None or name in RESERVED:
            known = ", ".join(sorted(self._kinds)) or "none"
            raise self._error(f"no property {name!r}; known: {known}"[:400], token)
        self.names.add(name)
        return _Node(kind, evaluation.variable(name, kind))

    def _integer(self, token: _Token, sign: int) -> int:
        value = sign * int(token.text, 16 if token.text[:2] in ("0x", "0X") else 10)
        if not evaluation.INT_MIN <= value <= evaluation.INT_MAX:
            raise self._error(f"{token.text[:24]} does not fit 64 bits", token)
        return value

    def _double(self, token: _Token) -> float:
        value = float(token.text)
        if math.isinf(value):
            raise self._error(f"{token.text[:24]} does not fit a double", token)
        return value

    def _string(self, token: _Token) -> str:
        def one(match: re.Match[str]) -> str:
            code = match[1] or match[2]
            character = chr(int(code, 16)) if code else _SIMPLE.get(match[3])
            if character is None or "\ud800" <= character <= "\udfff":
                raise self._error(f"escape {match[0]!r} is not supported", token)
            return character

        return _ESCAPE.sub(one, token.text[1:-1])


def _comparable(left: _Node, right: _Node) -> bool:
    if "list" in (left.kind, right.kind):
        return False
    return left.kind == right.kind or (left.kind in _NUMERIC and right.kind in _NUMERIC)


def _constant(kind: Kind, value: Value) -> _Node:
    return _Node(kind, lambda _: value)
