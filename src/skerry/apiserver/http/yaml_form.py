"""Answers as YAML, for clients that ask for it; written by PyYAML's C emitter, keys in order."""

from __future__ import annotations

from typing import Any

import yaml

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_yaml(value: Any) -> bytes:
    """Return a JSON value as YAML."""
    text: str = yaml.dump(value, Dumper=_DUMPER, sort_keys=True, default_flow_style=False, allow_unicode=True, width=10_000)
    return text.encode()
