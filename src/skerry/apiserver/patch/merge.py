"""Merge patch (RFC 7386): maps merge, null removes, everything else replaces."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.patch.copying import copied, same
from skerry.model.objects import Object


def merge(document: Any, patch: Any) -> Any:
    """Return *document* with *patch* merged into it; the depth of both was checked when they were decoded."""
    if patch.__class__ is not dict:
        return copied(patch)
    found = dict(document) if document.__class__ is dict else {}
    for key, change in patch.items():
        if change is None:
            found.pop(key, None)
        elif change.__class__ is dict:
            found[key] = merge(found.get(key), change)
        else:
            found[key] = copied(change)
    return _unshared(found, document, patch)


def _unshared(found: Object, document: Any, patch: Object) -> Object:
    """Copy what came from the document as it was; what the patch touched is new already."""
    if document.__class__ is dict:
        for key, value in document.items():
            if key not in patch and value.__class__ in (dict, list):
                found[key] = copied(value)
    return found


def difference(old: Any, new: Any) -> Any:
    """Return the merge patch that turns *old* into *new*; nulls inside *new* cannot be expressed (RFC 7386)."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return copied(new)
    found: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            found[key] = copied(value)
        elif not same(old[key], value):
            found[key] = difference(old[key], value)
    return found
