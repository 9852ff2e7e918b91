"""What a mutating webhook left of an object becomes the object: pruned and completed as if a client had sent it. Pure."""

from __future__ import annotations

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.create import place
from skerry.apiserver.registry.meta import prepare_changed, prepare_new
from skerry.apiserver.registry.strategy import prepare_for_update
from skerry.model.objects import Object


def take(asked: Admission, patched: Object) -> None:
    """Make what came back the object: pruned, complete, and still the one that was asked about."""
    new, kind = asked.new, asked.kind
    assert new is not None
    entries = patched["metadata"].pop("managedFields", None)  # whether they can be read is asked when all have spoken
    kind.schema.prune_unknown(patched)
    if asked.old is not None:
        prepare_changed(patched["metadata"], asked.old["metadata"])
        prepare_for_update(kind, patched, asked.old, asked.subresource)
    else:
        _take_new(asked, patched)
    patched["metadata"].pop("managedFields", None)  # the old ones, which come with metadata that is kept
    if entries:
        patched["metadata"]["managedFields"] = entries
    new.clear()
    new.update(patched)
    asked.name = new["metadata"].get("name", asked.name)


def _take_new(asked: Admission, patched: Object) -> None:
    """Give a new object that came back what is the server's to say, and a name of the server's unless somebody outside gave it one."""
    assert asked.new is not None
    meta, given = patched["metadata"], asked.new["metadata"]
    prepare_new(meta, uid=given["uid"], now=given["creationTimestamp"])
    place(asked.kind, meta, asked.namespace)
    if asked.generated and not meta.get("name"):
        meta["name"] = given["name"]
    else:
        asked.generated = False
    if asked.kind.schema.resets_status:
        patched.pop("status", None)
        if "status" in asked.new:
            patched["status"] = asked.new["status"]
    asked.kind.schema.default(patched)
