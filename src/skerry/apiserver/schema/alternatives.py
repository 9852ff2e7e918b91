"""allOf, anyOf, oneOf, not: a value judged by several schemas at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skerry.apiserver.schema.constraints import Schema, Validate, all_checks
from skerry.apiserver.schema.paths import Path, dotted
from skerry.model.errors import Cause

Compile = Callable[[Schema], Validate | None]


def alternatives(schema: Schema, compile_branch: Compile) -> Validate | None:
    """Return the check of all four keywords, or None when the schema has none of them."""
    kinds = (_all_of, _any_of, _one_of, _not)
    return all_checks([c for c in (kind(schema, compile_branch) for kind in kinds) if c is not None])


def _branches(schema: Schema, keyword: str, compile_branch: Compile) -> list[Validate]:
    return [compile_branch(s) or _anything for s in schema.get(keyword) or ()]


def _anything(value: Any, path: Path, causes: list[Cause]) -> None:
    """Every value is fine."""


def _tried(branch: Validate, value: Any, path: Path) -> list[Cause]:
    causes: list[Cause] = []
    branch(value, path, causes)
    return causes


def _whole(path: Path, why: str) -> Cause:
    return Cause("<nil>", "FieldValueInvalid", f'Invalid value: "": "{dotted(path)}" {why}')


def _best(failures: list[list[Cause]]) -> list[Cause]:
    return min(failures, key=len)


def _all_of(schema: Schema, compile_branch: Compile) -> Validate | None:
    branches = _branches(schema, "allOf", compile_branch)
    if not branches:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        found = [c for b in branches for c in _tried(b, value, path)]
        if found:
            causes.append(_whole(path, "must validate all the schemas (allOf)"))
            causes.extend(found)

    return validate


def _any_of(schema: Schema, compile_branch: Compile) -> Validate | None:
    branches = _branches(schema, "anyOf", compile_branch)
    if not branches:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        failures = []
        for b in branches:
            found = _tried(b, value, path)
            if not found:
                return
            failures.append(found)
        causes.append(_whole(path, "must validate at least one schema (anyOf)"))
        causes.extend(_best(failures))

    return validate


def _one_of(schema: Schema, compile_branch: Compile) -> Validate | None:
    branches = _branches(schema, "oneOf", compile_branch)
    if not branches:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        results = [_tried(b, value, path) for b in branches]
        valid = sum(not r for r in results)
        if valid == 1:
            return
        found = f"Found {valid} valid alternatives" if valid else "Found none valid"
        causes.append(_whole(path, f"must validate one and only one schema (oneOf). {found}"))
        if not valid:
            causes.extend(_best(results))

    return validate


def _not(schema: Schema, compile_branch: Compile) -> Validate | None:
    inner = schema.get("not")
    if not isinstance(inner, Mapping):
        return None
    branch = compile_branch(inner) or _anything

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if not _tried(branch, value, path):
            causes.append(_whole(path, "must not validate the schema (not)"))

    return validate
