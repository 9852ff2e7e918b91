"""One evaluation: its variables, some of which are computed when they are first used, and what it has cost so far."""

from __future__ import annotations

from collections.abc import Callable

from skerry.apiserver.cel.errors import CostError, EvaluationError
from skerry.apiserver.cel.values import Value

PER_CALL = 600_000
"""Cost units of one evaluation: some 100 ms, since nothing else is done meanwhile. Kubernetes allows 1,000,000."""


class Frame:
    """The variables of one evaluation, and what it has cost."""

    __slots__ = ("cost", "limit", "variables")

    def __init__(self, variables: dict[str, Value], limit: int) -> None:
        self.variables, self.limit, self.cost = variables, limit, 0

    def spend(self, cost: int) -> None:
        self.cost += cost
        if self.cost > self.limit:
            raise CostError


Run = Callable[[Frame], Value]


class Lazy:
    """A variable that is computed when it is first used, and kept."""

    __slots__ = ("_done", "_error", "_make", "_value")

    def __init__(self, make: Callable[[Frame], Value]) -> None:
        self._make, self._done, self._error = make, False, ""
        self._value: Value = None

    def __call__(self, frame: Frame) -> Value:
        if not self._done:
            try:
                self._value = self._make(frame)
            except EvaluationError as error:
                self._error = str(error)
            self._done = True
        if self._error:
            raise EvaluationError(self._error)
        return self._value
