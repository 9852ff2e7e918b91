"""From text to nodes. Nothing here knows which names or functions exist."""

from __future__ import annotations

import re

import msgspec

from skerry.apiserver.cel.errors import CelSyntaxError, Issue
from skerry.apiserver.cel.syntax import Bind, Call, Const, Ident, ListNode, Loop, MapNode, Node, Select, children
from skerry.apiserver.cel.values import UInt

MAX_SOURCE = 64 * 1024
"""Characters of one expression."""
MAX_DEPTH = 40
"""How deep parentheses, arguments and branches may be nested."""
MAX_TREE = 150
"""How deep the tree may be; each level costs Python two or three frames when it is checked, compiled and run."""
RESERVED = frozenset(
    (
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace",
        "return", "var", "void", "while", "in", "true", "false", "null",
    )
)  # fmt: skip
_TOKEN = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*)
    | (?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
    | (?P<uint>(?:0x[0-9a-fA-F]+|\d+)[uU])
    | (?P<int>0x[0-9a-fA-F]+|\d+)
    | (?P<string>(?:[bB][rR]?|[rR][bB]?)?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n\r])*"|'(?:\\.|[^'\\\n\r])*'))
    | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
    | (?P<op>\|\||&&|[<>=!]=|\[\?|\.\?|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|X([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v", "?": "?", "`": "`"}
_EXPECTING = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
_LEVELS = (("||",), ("&&",), ("<", "<=", ">=", ">", "==", "!=", "in"), ("+", "-"), ("*", "/", "%"))
OPERATORS = {
    "||": "_||_", "&&": "_&&_", "<": "_<_", "<=": "_<=_", ">": "_>_", ">=": "_>=_", "==": "_==_", "!=": "_!=_", "in": "@in",
    "+": "_+_", "-": "_-_", "*": "_*_", "/": "_/_", "%": "_%_",
}  # fmt: skip
_LOOPS = {"all": 2, "exists": 2, "exists_one": 2, "filter": 2, "map": 2}


class _Token(msgspec.Struct, frozen=True):
    type: str
    text: str
    at: int


def parse(source: str) -> Node:
    """Return the tree of *source*; raises CelSyntaxError."""
    if len(source) > MAX_SOURCE:
        raise CelSyntaxError("", [Issue(0, f"expression code point size exceeds limit: size: {len(source)}, limit {MAX_SOURCE}")])
    parser = _Parser(source, _tokens(source))
    node = parser.expression()
    parser.end()
    if _too_deep(node):
        raise CelSyntaxError(source, [Issue(0, f"expression recursion limit exceeded: {MAX_TREE}")])
    return node


def _too_deep(node: Node) -> bool:
    level = [node]
    for _ in range(MAX_TREE):
        level = [child for here in level for child in children(here)]
        if not level:
            return False
    return True


def _tokens(source: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise CelSyntaxError(source, [Issue(at, f"Syntax error: token recognition error at: '{source[at]}'")])
        if match.lastgroup != "space":
            found.append(_Token(match.lastgroup or "", match[0], at))
        at = match.end()
    found.append(_Token("end", "<EOF>", len(source)))
    return found


def _balanced(terms: list[Node], places: list[_Token]) -> Node:
    """Join terms by one logical operator, which is associative, into a tree that is as flat as can be."""
    if len(terms) == 1:
        return terms[0]
    half = (len(terms) + 1) // 2
    left, right = _balanced(terms[:half], places[: half - 1]), _balanced(terms[half:], places[half:])
    return Call(places[half - 1].at, OPERATORS[places[half - 1].text], (left, right))


class _Parser:
    def __init__(self, source: str, tokens: list[_Token]) -> None:
        self._source, self._tokens, self._next, self._depth = source, tokens, 0, 0

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"expression recursion limit exceeded: {MAX_DEPTH}")
        condition = self._binary(0)
        if self._is("?"):
            at = self._take().at
            yes = self._binary(0)
            self._expect(":")
            condition = Call(at, "_?_:_", (condition, yes, self.expression()))
        self._depth -= 1
        return condition

    def end(self) -> None:
        if self._peek.type != "end":
            raise self._wrong(f"Syntax error: mismatched input '{self._peek.text}' expecting <EOF>")

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        terms, places = [self._binary(level + 1)], []
        while (token := self._peek).type in ("op", "name") and token.text in _LEVELS[level]:
            self._next += 1
            places.append(token)
            terms.append(self._binary(level + 1))
        if level < 2:
            return _balanced(terms, places)
        left = terms[0]
        for token, right in zip(places, terms[1:], strict=True):
            left = Call(token.at, OPERATORS[token.text], (left, right))
        return left

    def _unary(self) -> Node:
        token = self._peek
        if token.type != "op" or token.text not in ("!", "-"):
            return self._member(self._primary())
        count = 0
        while self._is(token.text):
            self._next += 1
            count += 1
        if token.text == "-" and self._peek.type in ("int", "double"):
            # A literal keeps its sign, so that the smallest integer can be written.
            number = self._literal(self._take(), negative=True)
            count -= 1
            inner = self._member(number)
        else:
            inner = self._member(self._primary())
        name = "!_" if token.text == "!" else "-_"
        return Call(token.at, name, (inner,)) if count % 2 else inner

    def _member(self, node: Node) -> Node:
        while True:
            token = self._peek
            if token.type != "op" or token.text not in (".", ".?", "[", "[?"):
                return node
            self._next += 1
            if token.text in (".", ".?"):
                node = self._after_dot(node, token)
            else:
                index = self.expression()
                self._expect("]")
                node = Call(token.at, "_[_]" if token.text == "[" else "_[?_]", (node, index))

    def _after_dot(self, node: Node, dot: _Token) -> Node:
        name = self._peek
        if name.type != "name":
            raise self._wrong(f"Syntax error: no viable alternative at input '{dot.text}{name.text if name.type != 'end' else ''}'")
        self._next += 1
        if dot.text == ".?":
            return Select(dot.at, node, name.text, optional=True)
        if not self._is("("):
            return Select(dot.at, node, name.text)
        opened = self._take().at
        return self._macro(node, name.text, self._arguments(")"), opened)

    def _macro(self, target: Node, name: str, args: list[Node], at: int) -> Node:
        if name in _LOOPS and len(args) in ((2, 3) if name == "map" else (2,)):
            guard = args[1] if len(args) == 3 else None
            return Loop(at, name, target, self._variable(args[0]), args[-1], guard)
        if name in ("optMap", "optFlatMap") and len(args) == 2:
            return Bind(at, target, self._variable(args[0]), args[1], name == "optFlatMap")
        return Call(at, name, tuple(args), target)

    def _variable(self, node: Node) -> str:
        if not isinstance(node, Ident):
            raise CelSyntaxError(self._source, [Issue(node.at, "argument must be a simple name")])
        return node.name

    def _primary(self) -> Node:
        token = self._peek
        if token.type in ("int", "uint", "double", "string"):
            return self._literal(self._take())
        if token.type == "name":
            return self._named(self._take())
        if token.text == "." and self._tokens[self._next + 1].type == "name":
            self._next += 1
            return self._named(self._take())
        if token.text == "[?" and token.type == "op":
            # A list that begins with an optional element: two tokens where an operand is expected.
            self._tokens[self._next : self._next + 1] = [_Token("op", "[", token.at), _Token("op", "?", token.at + 1)]
            token = self._peek
        if token.type == "op" and token.text in ("(", "[", "{"):
            self._next += 1
            return self._bracketed(token)
        raise self._wrong(f"Syntax error: mismatched input '{token.text}' expecting {_EXPECTING}")

    def _named(self, token: _Token) -> Node:
        if token.text in ("true", "false", "null"):
            return Const(token.at, {"true": True, "false": False, "null": None}[token.text])
        if token.text == "in":
            self._next -= 1
            raise self._wrong(f"Syntax error: mismatched input 'in' expecting {_EXPECTING}")
        if token.text in RESERVED:
            raise CelSyntaxError(self._source, [Issue(token.at, f"reserved identifier: {token.text}")])
        if not self._is("("):
            return Ident(token.at, token.text)
        opened = self._take().at
        args = self._arguments(")")
        if token.text == "has" and len(args) == 1:
            field = args[0]
            if not isinstance(field, Select) or field.optional:
                raise CelSyntaxError(self._source, [Issue(opened, "invalid argument to has() macro")])
            return Select(opened, field.operand, field.field, test=True)
        return Call(opened, token.text, tuple(args))

    def _bracketed(self, token: _Token) -> Node:
        if token.text == "(":
            node = self.expression()
            self._expect(")")
            return node
        if token.text == "[":
            return self._list(token.at)
        return self._map(token.at)

    def _list(self, at: int) -> Node:
        elements: list[Node] = []
        optional: set[int] = set()
        while not self._is("]"):
            if self._is("?"):
                self._next += 1
                optional.add(len(elements))
            elements.append(self.expression())
            if not self._is(","):
                break
            self._next += 1
        self._expect("]")
        return ListNode(at, tuple(elements), frozenset(optional))

    def _map(self, at: int) -> Node:
        entries: list[tuple[Node, Node]] = []
        optional: set[int] = set()
        while not self._is("}"):
            if self._is("?"):
                self._next += 1
                optional.add(len(entries))
            key = self.expression()
            self._expect(":")
            entries.append((key, self.expression()))
            if not self._is(","):
                break
            self._next += 1
        self._expect("}")
        return MapNode(at, tuple(entries), frozenset(optional))

    def _arguments(self, closing: str) -> list[Node]:
        found: list[Node] = []
        if not self._is(closing):
            found.append(self.expression())
            while self._is(","):
                self._next += 1
                found.append(self.expression())
        self._expect(closing)
        return found

    def _literal(self, token: _Token, *, negative: bool = False) -> Const:
        sign, text = (-1 if negative else 1), token.text
        if token.type == "double":
            return Const(token.at, sign * float(text))
        if token.type == "string":
            return Const(token.at, self._string(token))
        number = sign * int(text.rstrip("uU"), 16 if text.lower().startswith("0x") else 10)
        if token.type == "uint":
            if number >= 2**64:
                raise CelSyntaxError(self._source, [Issue(token.at, "invalid uint literal")])
            return Const(token.at, UInt(number))
        if not -(2**63) <= number < 2**63:
            raise CelSyntaxError(self._source, [Issue(token.at, "invalid int literal")])
        return Const(token.at, number)

    def _string(self, token: _Token) -> str | bytes:
        text = token.text
        quote = min(i for i in (text.find('"'), text.find("'")) if i >= 0)
        prefix = text[:quote].lower()
        width = 3 if text[quote : quote + 3] in ('"""', "'''") else 1
        body = text[quote + width : -width]
        is_bytes = "b" in prefix
        if "r" in prefix:
            return body.encode() if is_bytes else body
        return self._unescaped_bytes(body, token) if is_bytes else self._unescaped(body, token)

    def _unescaped(self, body: str, token: _Token) -> str:
        if "\\" not in body:
            return body

        def replaced(match: re.Match[str]) -> str:
            hexadecimal = match[1] or match[2] or match[3] or match[4]
            if hexadecimal or match[5]:
                point = int(hexadecimal, 16) if hexadecimal else int(match[5], 8)
                if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
                    raise CelSyntaxError(self._source, [Issue(token.at, "invalid unicode code point")])
                return chr(point)
            if match[6] not in _SIMPLE:
                raise CelSyntaxError(self._source, [Issue(token.at, f"Syntax error: token recognition error at: '{token.text[:2]}'")])
            return _SIMPLE[match[6]]

        return _ESCAPE.sub(replaced, body)

    def _unescaped_bytes(self, body: str, token: _Token) -> bytes:
        out, at = bytearray(), 0
        for match in _ESCAPE.finditer(body):
            out += body[at : match.start()].encode()
            octet = match[1] or match[2]
            out += (
                bytes([int(octet, 16)]) if octet else bytes([int(match[5], 8)]) if match[5] else self._unescaped(match[0], token).encode()
            )
            at = match.end()
        return bytes(out + body[at:].encode())

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _is(self, text: str) -> bool:
        token = self._tokens[self._next]
        return token.type == "op" and token.text == text

    def _expect(self, text: str) -> None:
        if not self._is(text):
            raise self._wrong(f"Syntax error: missing '{text}' at '{self._peek.text}'")
        self._next += 1

    def _wrong(self, why: str) -> CelSyntaxError:
        return CelSyntaxError(self._source, [Issue(self._peek.at, why)])
