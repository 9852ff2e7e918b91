"""What Kubernetes says about its own fields: from the package `kubernetes-validate`, where it is installed.

The texts are 1.3 MB and asked for rarely (`kubectl explain`, column definitions): the file is read when somebody asks, what was
asked for is taken out, and nothing else is kept. Without the package there are no texts, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

_FILE = "kubernetes-json-schema/v1.32.0-local/_definitions.json"
_LIMIT_BYTES = 16 << 20


class _Definitions(msgspec.Struct):
    found: dict[str, msgspec.Raw] = msgspec.field(name="$defs", default_factory=dict)


class _Described(msgspec.Struct):
    description: str = ""
    properties: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)


class _Text(msgspec.Struct):
    description: str = ""


class Texts:
    """The texts, in memory for as long as somebody needs them."""

    def __init__(self) -> None:
        self._found = _read()

    def describe(self, name: str, definition: dict[str, Any]) -> None:
        """Put descriptions into a *definition*, which is of the OpenAPI *name*, and into its properties."""
        raw = self._found.get(name)
        if raw is None:
            return
        found = msgspec.json.decode(raw, type=_Described)
        if found.description:
            definition.setdefault("description", found.description)
        for key, schema in (definition.get("properties") or {}).items():
            text = _text(found.properties.get(key))
            if text:
                schema.setdefault("description", text)


def texts_of(fields: Iterable[tuple[str, str]]) -> list[str]:
    """Return the description of each (definition, property); "" for what is not known."""
    texts = _read()
    return [_text(_properties(texts.get(name)).get(key)) for name, key in fields]


def _properties(raw: msgspec.Raw | None) -> dict[str, msgspec.Raw]:
    return {} if raw is None else msgspec.json.decode(raw, type=_Described).properties


def _text(raw: msgspec.Raw | None) -> str:
    return "" if raw is None else msgspec.json.decode(raw, type=_Text).description


def _read() -> dict[str, msgspec.Raw]:
    spec = find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        return {}
    path = Path(next(iter(spec.submodule_search_locations))) / _FILE
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_LIMIT_BYTES), type=_Definitions).found
    except (OSError, msgspec.DecodeError):
        return {}
