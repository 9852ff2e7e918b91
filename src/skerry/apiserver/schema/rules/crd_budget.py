"""How much a CustomResourceDefinition may ask of us: parts of its schemas, and text of patterns that have to be compiled. Pure.

Checking, compiling and publishing a schema takes microseconds a part, and whoever may create a definition must not hold the
server with one. The largest in use have a third of these numbers.
"""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.rules.common import Causes, Map
from skerry.model.errors import forbidden_field

MAX_PARTS = 10_000
MAX_PATTERNS = 400
"""Different patterns; as many as are kept compiled."""
MAX_PATTERN_CHARACTERS = 32 << 10
"""In all of them together."""
_LISTS = ("allOf", "anyOf", "oneOf")
_ONE = ("items", "additionalProperties", "not")


def within_budget(spec: Map, causes: Causes) -> bool:
    """Say whether all versions together stay within the limits; what is too much is added to *causes*."""
    patterns: set[str] = set()
    waiting: list[Any] = [(v.get("schema") or {}).get("openAPIV3Schema") for v in spec.get("versions") or ()]
    parts = 0
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict):
            continue
        parts += 1
        if parts > MAX_PARTS:
            causes.append(forbidden_field("spec.versions", f"the schemas have more than {MAX_PARTS} parts (properties, items, branches)"))
            return False
        if node.get("pattern"):
            patterns.add(node["pattern"])
        waiting += (node.get("properties") or {}).values()
        waiting += [node.get(key) for key in _ONE]
        for key in _LISTS:
            waiting += node.get(key) or ()
    if len(patterns) > MAX_PATTERNS or sum(map(len, patterns)) > MAX_PATTERN_CHARACTERS:
        limit = f"{MAX_PATTERNS} different patterns, or {MAX_PATTERN_CHARACTERS} characters in them"
        causes.append(forbidden_field("spec.versions", f"the schemas have more than {limit}"))
        return False
    return True
