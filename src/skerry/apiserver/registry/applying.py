"""Server-side apply over the registry: make the object where there is none, else merge into what is there."""

from __future__ import annotations

from functools import partial
from typing import Any

from skerry.apiserver.http.message import Request
from skerry.apiserver.patch import KUBECTL, apply, configured, copied, told_kind, with_last_applied
from skerry.apiserver.registry.beside import LARGE
from skerry.apiserver.registry.create import create
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.ownership import Ownership, Types, writer_of
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.update import Change
from skerry.apiserver.registry.update import apply as carry_out
from skerry.apiserver.schema.budget import require_few_values
from skerry.apiserver.schema.codec import MAX_DEPTH, depth_exceeds, duplicate_keys
from skerry.apiserver.store import Key
from skerry.model.errors import ApiError, bad_request, conflict, not_found
from skerry.model.objects import Object

MAX_TRIES = 5
_REFUSAL = "error decoding YAML"


def read_configuration(request: Request, options: WriteOptions) -> Object:
    """Return the applied configuration in a body, which is YAML or JSON; ApiError 400."""
    duplicates: list[str] = []
    require_few_values(request.body)
    try:
        config: Any = decode(request.body)
    except RecursionError:
        raise bad_request(f"{_REFUSAL}: nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        from skerry.apiserver.schema.yaml_body import decode_yaml

        config, duplicates = decode_yaml(request.body, _REFUSAL)
    else:
        if not isinstance(config, dict):
            raise bad_request(f"{_REFUSAL}: an applied configuration is an object")
        duplicates = [] if options.field_validation == "Ignore" else duplicate_keys(request.body, config)
    if depth_exceeds(config, MAX_DEPTH):
        raise bad_request(f"{_REFUSAL}: nested deeper than {MAX_DEPTH} levels")
    _complain(duplicates, options)
    return config if isinstance(config.get("metadata"), dict) else {**config, "metadata": {}}


def _complain(duplicates: list[str], options: WriteOptions) -> None:
    if not duplicates or options.field_validation == "Ignore":
        return
    found = ", ".join(f'key "{path}" already set in map' for path in duplicates)
    if options.field_validation == "Strict":
        raise bad_request(f"error strict decoding YAML: {found}")
    options.warnings.append(found)


async def apply_configuration(
    registry: Registry,
    kind: Kind,
    namespace: str,
    name: str,
    config: Object,
    options: WriteOptions,
    *,
    subresource: str = "",
    force: bool,
) -> tuple[int, bytes]:
    """Apply *config* to the named object; return the HTTP status (201 when it created) and the object's bytes."""
    if (config.get("apiVersion"), config.get("kind")) != (kind.resource.api_version, kind.resource.kind):
        raise bad_request(f"invalid object type: {told_kind(config.get('apiVersion'), config.get('kind'))}")
    make = partial(_Applying, registry, kind, config, options, subresource, force=force)
    applying = make() if options.size <= LARGE else await registry.beside.run(make)
    for tries in range(MAX_TRIES, 0, -1):
        try:
            if registry.store.get(Key(kind.key, namespace, name)) is None:
                if subresource:
                    raise not_found(kind.resource.plural, kind.resource.group, name)
                return 201, await applying.create(namespace, name)
            change = Change(kind, namespace, name, applying.merged, subresource, Ownership.APPLIED)
            return 200, await carry_out(registry, change, options)
        except ApiError as error:
            # Somebody made it, or deleted it, meanwhile.
            if tries == 1 or error.reason not in ("AlreadyExists", "NotFound") or subresource:
                raise
            if (error.details or {}).get("name") != name or (error.details or {}).get("kind") != kind.resource.plural:
                raise
    raise AssertionError("the last try returns or raises")


class _Applying:
    """One configuration, and whose it is."""

    def __init__(self, registry: Registry, kind: Kind, config: Object, options: WriteOptions, subresource: str, *, force: bool) -> None:
        self._registry, self._kind, self._config, self._options = registry, kind, config, options
        self._writer = writer_of(registry, kind, options, subresource)
        self._types, self._force = Types(registry, kind), force
        self._wanted = configured(config, kind.type)

    async def create(self, namespace: str, name: str) -> bytes:
        meta, resource = self._config["metadata"], self._kind.resource
        if self._options.creating is not None:
            self._options.creating()
        if meta.get("uid"):
            why = f"uid mismatch: the provided object specified uid {meta['uid']}, and no existing object was found"
            raise conflict(resource.plural, resource.group, name, why)
        if meta.get("name") not in (None, "", name):
            raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
        if meta.get("resourceVersion") not in (None, "", "0"):
            raise conflict(resource.plural, resource.group, name)
        onto = partial(self._onto, self._kind.empty, [])
        obj = onto() if self._options.size <= LARGE else await self._registry.beside.run(onto)
        obj["metadata"].pop("resourceVersion", None)
        return await create(self._registry, self._kind, namespace, obj, self._options, name=name, applied=True)

    def merged(self, old: Object) -> Object:
        """Return *old* with the configuration applied."""
        meta = {k: v for k, v in old["metadata"].items() if k != "managedFields"}
        return self._onto({**old, "metadata": meta}, old["metadata"].get("managedFields") or [])

    def _onto(self, live: Object, entries: list[Any]) -> Object:
        empty = self._kind.empty
        applied = apply(live, self._wanted, entries, self._writer, self._types, empty=empty, force=self._force)
        obj = applied.obj
        if self._writer.manager == KUBECTL:
            obj = with_last_applied(obj, self._config)
        new: Object = copied(obj)
        new["apiVersion"], new["kind"] = self._kind.resource.api_version, self._kind.resource.kind
        try:
            self._kind.schema.prune_unknown(new)
        except ApiError as error:
            raise ApiError(500, "", f"failed to convert new typed object to object: {error.message}") from None
        if not isinstance(new.get("metadata"), dict):
            new["metadata"] = {}
        new["metadata"]["managedFields"] = applied.entries
        return new
