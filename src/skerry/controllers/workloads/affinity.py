"""Node affinity: terms of expressions over a node's labels and its name. Pure. What we do not support excludes every node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.model.objects import Object, dig, labels_of, metadata


def matches_term(term: Mapping[str, Any], node: Object) -> bool:
    """Whether all expressions of a nodeSelectorTerm hold; an empty term holds for no node, as in Kubernetes."""
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    name = {"metadata.name": str(metadata(node).get("name"))}
    return all(_holds(e, labels_of(node)) for e in expressions) and all(_holds(f, name) for f in fields)


def _holds(expression: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    have, wanted = values.get(str(expression.get("key"))), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return have in wanted
        case "NotIn":
            return have not in wanted
        case "Exists":
            return have is not None
        case "DoesNotExist":
            return have is None
        case "Gt" | "Lt" as operator:
            return _compares(operator, have, wanted)
    return False


def _compares(operator: str, have: str | None, wanted: list[str]) -> bool:
    try:
        left, right = int(have or ""), int(wanted[0])
    except (ValueError, IndexError):
        return False
    return left > right if operator == "Gt" else left < right


def preference(pod: Object, node: Object) -> int:
    """Return the sum of the weights of the preferred terms that hold."""
    terms = dig(pod, "spec", "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution", default=[])
    return sum(int(t.get("weight") or 0) for t in terms if matches_term(t.get("preference") or {}, node))
