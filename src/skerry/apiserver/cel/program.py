"""`CelProgram`: one expression, checked and ready to run. What is behind it can be exchanged without anybody noticing."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.apiserver.cel.check import TYPE_NAMES, Checked, check
from skerry.apiserver.cel.evaluate import compile_node
from skerry.apiserver.cel.frame import PER_CALL, Frame, Lazy
from skerry.apiserver.cel.parser import parse
from skerry.apiserver.cel.syntax import names
from skerry.apiserver.cel.types import Type
from skerry.apiserver.cel.values import Value


class CelProgram:
    """A compiled expression. `type` is that of its result, `uses` are the names in it, `checked` is for estimates of its cost."""

    __slots__ = ("_run", "checked", "source", "type", "uses")

    def __init__(self, source: str, variables: Mapping[str, Type]) -> None:
        """Compile *source*, in which *variables* may occur; raises CelSyntaxError."""
        self.checked: Checked = check(source, parse(source), variables)
        self.source, self.type = source, self.checked.type
        self.uses = names(self.checked.node)
        self._run = compile_node(self.checked.node, TYPE_NAMES)

    def evaluate(self, variables: dict[str, Value], *, limit: int = PER_CALL) -> tuple[Value, int]:
        """Return the value and its cost; raises EvaluationError when there is no value, CostError beyond *limit*."""
        frame = Frame(variables, limit)
        value = self._run(frame)
        return value, frame.cost

    def lazy(self, variables: dict[str, Value]) -> Lazy:
        """Return a value that is evaluated, with *variables*, when it is first used, at the expense of whoever uses it."""

        def make(frame: Frame) -> Value:
            inner = Frame(variables, frame.limit - frame.cost)
            value = self._run(inner)
            frame.spend(inner.cost)
            return value

        return Lazy(make)
