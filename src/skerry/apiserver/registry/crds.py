"""Custom kinds come and go: what a CustomResourceDefinition asks for is served as soon as it is stored.

A kind is served before its CRD says Established, so whoever waits for the condition finds it. A CRD that is being deleted is
held by a finalizer until its objects are gone; only then its kind disappears. A watch ends when its kind changes or goes: it knows
the versions of the time when it was opened.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from skerry.apiserver.http.message import User
from skerry.apiserver.registry.beside import DENSE, LARGE
from skerry.apiserver.registry.crd_names import CLEANUP, accepted_status, storage_version
from skerry.apiserver.registry.delete import DeleteOptions, delete
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.update import Change as Update
from skerry.apiserver.registry.update import apply
from skerry.apiserver.schema import Catalogue, KindSchema, ServedResource, custom_resources
from skerry.apiserver.store import Change, Key
from skerry.model.conditions import is_true
from skerry.model.errors import ApiError
from skerry.model.objects import Object

log = logging.getLogger(__name__)

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
RETRY_S = 1.0
_CONTROLLER = WriteOptions(User("system:apiserver", ("system:masters", "system:authenticated")), internal=True)


class CustomKinds:
    """Follows the CRDs of a registry; `run` carries out what takes writes."""

    def __init__(self, registry: Registry, catalogue: Catalogue, select_by: Callable[[str, tuple[str, ...]], None]) -> None:
        self._registry, self._catalogue, self._select_by = registry, catalogue, select_by
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._served: dict[str, tuple[int, object]] = {}
        self._names: dict[str, tuple[int, str, str, Mapping[str, Any]]] = {}
        """Of each CRD: at which revision it was read, its group, its plural and the names that it was given."""

    def load(self) -> None:
        """Serve what is established already; at start, before anything is answered."""
        for record in self._registry.store.list(CRDS).records:
            self._serve(decode(record.value), record.revision)
            self._due.add(record.key.name)
        self._wake.set()

    def follow(self, changes: list[Change]) -> None:
        """Take note of changes of CRDs, and of objects that a deletion waits for."""
        for change in changes:
            key = change.record.key
            if key.resource == CRDS:
                self._note(key.name, change)

    def _note(self, name: str, change: Change) -> None:
        if change.type == "DELETED":
            self._registry.kinds.remove(name)
            self._registry.store.end_watches(name)
            self._served.pop(name, None)
            self._names.pop(name, None)
            self._due.discard(name)
            self._due.update(r.key.name for r in self._registry.store.list(CRDS).records)
        else:
            self._due.add(name)
        self._wake.set()

    async def run(self) -> None:
        """Bring every CRD to where it should be, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for name in sorted(self._due):
                self._due.discard(name)
                try:
                    await self._settle(name)
                except Exception as error:
                    log.warning("custom kind waits", extra={"crd": name, "cause": repr(error)})
                    asyncio.get_running_loop().call_later(RETRY_S, self._again, name)
                await asyncio.sleep(0)  # all others of a group are looked at when one goes

    def _again(self, name: str) -> None:
        self._due.add(name)
        self._wake.set()

    async def settle_all(self) -> None:
        """Bring every CRD to where it should be now; for start and tests."""
        due, self._due = sorted(self._due), set()
        await asyncio.gather(*[self._settle(name) for name in due])

    async def _settle(self, name: str) -> None:
        record = self._registry.store.get(Key(CRDS, "", name))
        if record is None:
            return
        crd: Object = decode(record.value)
        if crd["metadata"].get("deletionTimestamp"):
            await self._clean_up(crd)
            return
        status = accepted_status(crd, self._taken(crd["spec"]["group"]), now=self._registry.now())
        if is_true(status.get("conditions"), "Established"):
            if name not in self._served:
                self._registry.store.begin(name)
            served = {**crd, "status": status}
            if len(record.value) > LARGE // DENSE and self._differs(served):
                compiled = await self._registry.beside.run(self._compiled, served)
                if self._registry.store.get(record.key) is not record:
                    return  # it is due again
                self._serve(served, record.revision, compiled)
            else:
                self._serve(served, record.revision)
        if status != crd.get("status"):
            kind = self._registry.kinds.storage(CRDS)
            assert kind is not None
            await apply(self._registry, Update(kind, "", name, lambda old: {**old, "status": status}, "status"), _CONTROLLER)

    def _taken(self, group: str) -> list[tuple[str, Any]]:
        found = []
        for record in self._registry.store.list(CRDS).records:
            read = self._names.get(record.key.name)
            if read is None or read[0] != record.revision:
                other = decode(record.value)
                names = (other.get("status") or {}).get("acceptedNames") or {}
                read = (record.revision, other["spec"]["group"], other["spec"]["names"]["plural"], names)
                self._names[record.key.name] = read
            if read[1] == group:
                found.append((read[2], read[3]))
        return found

    def _differs(self, crd: Object) -> bool:
        """Say whether a CRD is to be served, and not as it is already."""
        if not is_true((crd.get("status") or {}).get("conditions"), "Established"):
            return False
        return self._served.get(crd["metadata"]["name"]) != _identity(crd)

    def _compiled(self, crd: Object) -> dict[str, KindSchema]:
        """Return a CRD's versions, compiled: a tenth of a second for the largest."""
        found = {}
        for served in custom_resources(crd):
            with contextlib.suppress(ValueError, KeyError):
                found[served.version] = self._catalogue.compile_crd_version(crd, served.version)
        return found

    def _serve(self, crd: Object, revision: int, compiled: Mapping[str, KindSchema] | None = None) -> None:
        """Serve a CRD's versions, unless they are already as it says."""
        if not self._differs(crd):
            return
        name = crd["metadata"]["name"]
        compiled = self._compiled(crd) if compiled is None else compiled  # now: the first request should not wait for it
        kinds = [self._kind(crd, served, revision, compiled.get(served.version)) for served in custom_resources(crd)]
        self._select_by(name, tuple(dict.fromkeys(path for kind in kinds for path in kind.selectable)))
        self._registry.kinds.replace(name, kinds, storage=storage_version(crd), unserved=self._unserved(crd, revision))
        self._registry.store.end_watches(name)
        self._served[name] = _identity(crd)

    def _unserved(self, crd: Object, revision: int) -> Kind | None:
        """Return the storage version when it is not itself served."""
        chosen = next((v for v in crd["spec"]["versions"] if v.get("storage") and not v.get("served")), None)
        if chosen is None:
            return None
        served = custom_resources({**crd, "spec": {**crd["spec"], "versions": [{**chosen, "served": True}]}})
        return self._kind(crd, served[0], revision)

    def _kind(self, crd: Object, served: ServedResource, revision: int, compiled: KindSchema | None = None) -> Kind:
        version = next(v for v in crd["spec"]["versions"] if v["name"] == served.version)
        scale = (version.get("subresources") or {}).get("scale") or {}
        warning = ""
        if version.get("deprecated"):
            warning = version.get("deprecationWarning") or f"{served.group}/{served.version} {served.kind} is deprecated"
        digest = hashlib.sha256(f"{served.group}/{served.version}/{served.kind}".encode()).digest()
        return Kind(
            replace(served, storage_hash=base64.b64encode(digest[:8]).decode()),
            partial(self._catalogue.compile_crd_version, crd, served.version) if compiled is None else lambda: compiled,
            has_generation=True,
            selectable=tuple(f["jsonPath"] for f in version.get("selectableFields") or ()),
            scale_paths=scale,
            schema_revision=revision,
            version=version,
            conversion=_conversion(crd),
            warning=warning,
        )

    async def _clean_up(self, crd: Object) -> None:
        """Delete the objects of a CRD that is going, then let it go."""
        name = crd["metadata"]["name"]
        if CLEANUP not in (crd["metadata"].get("finalizers") or ()):
            return
        kind = self._registry.kinds.storage(name)
        left = self._registry.store.list(name).records
        if kind is not None:
            for record in left:
                with contextlib.suppress(ApiError):
                    await delete(self._registry, kind, record.key.namespace, record.key.name, DeleteOptions(), _CONTROLLER)
            left = self._registry.store.list(name).records
        if left:
            raise ApiError(409, "Conflict", f"{len(left)} objects of {name} are still held by finalizers")
        definition = self._registry.kinds.storage(CRDS)
        assert definition is not None
        await apply(self._registry, Update(definition, "", name, _released), _CONTROLLER)


def _identity(crd: Object) -> tuple[int, object]:
    """Return what changes when a CRD is to be served otherwise."""
    return (crd["metadata"].get("generation", 0), crd["status"].get("acceptedNames"))


def _conversion(crd: Object) -> Mapping[str, Any] | None:
    """Return whom to ask for other versions; None where there is one, or where they differ in name only."""
    conversion = crd["spec"].get("conversion") or {}
    if conversion.get("strategy") != "Webhook" or len(crd["spec"]["versions"]) < 2:
        return None
    found: Mapping[str, Any] = conversion.get("webhook") or {}
    return found


def _released(crd: Object) -> Object:
    meta = dict(crd["metadata"])
    meta["finalizers"] = [f for f in meta.get("finalizers") or () if f != CLEANUP]
    return {**crd, "metadata": meta}
