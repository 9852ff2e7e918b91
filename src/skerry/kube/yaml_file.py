"""Reads YAML that a person gives to the command line or the hub: bounded, safe types only, nothing that multiplies what a file holds."""

from __future__ import annotations

import math
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"


class YamlFileError(ValueError):
    """The file cannot be used; the message names it, and what to do."""


class _Loader(_SafeLoader):  # type: ignore[misc]
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse merge keys, however they are written: each level of them can multiply what the file holds."""
        if any(key.tag == _MERGE for key, _ in node.value):
            raise YamlFileError("YAML merge keys (<<)")


def read_documents(path: Path, *, limit_bytes: int) -> list[Any]:
    """Return the documents of a file; raises YamlFileError or OSError."""
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise YamlFileError(f"{path} has more than {limit_bytes} bytes, the limit")
    loader = _Loader(data)
    try:
        return [_document(loader, limit_bytes) for _ in iter(loader.check_node, False)]
    except YamlFileError as error:
        raise YamlFileError(f"{path} has {error}, which are not read here: write the entries out") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise YamlFileError(f"{path} is not YAML: {error}") from error
    finally:
        loader.dispose()


def _document(loader: Any, most: int) -> Any:
    """Return the next document, if it has no more values than a file may have bytes."""
    node = loader.get_node()
    if _values(node, {}) > most:
        raise YamlFileError(f"YAML aliases (*) that make more than {most} values of it")
    return loader.construct_document(node)


def _values(node: yaml.Node, known: dict[int, float]) -> float:
    """Return how many values there are once every alias is followed: no end of them where one holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        inside = chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value if isinstance(node, yaml.SequenceNode) else ()
        known[id(node)] = 1 + sum(_values(inner, known) for inner in inside)
    return known[id(node)]
