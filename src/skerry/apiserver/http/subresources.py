"""Subresources that are not simply a part of their object: scale, binding, eviction, and those that are refused by name."""

from __future__ import annotations

from skerry.apiserver.http.answers import json_answer
from skerry.apiserver.http.bare import BareError
from skerry.apiserver.http.media import body_media
from skerry.apiserver.http.message import Response
from skerry.apiserver.http.query import flag
from skerry.apiserver.http.resources import Call, Resources, options_of
from skerry.apiserver.patch import json_patch, merge, read_json_patch, read_merge_patch
from skerry.apiserver.registry.applying import read_configuration
from skerry.apiserver.registry.body import read_as
from skerry.apiserver.registry.encoding import dumps
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.patch import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, is_apply, unsupported
from skerry.apiserver.registry.pods import bind, evict
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.scale import apply_scale, read_scale, write_scale
from skerry.apiserver.registry.update import Transform
from skerry.apiserver.schema import Catalogue
from skerry.model.errors import bad_request
from skerry.model.objects import dig

REFUSED = {
    ("nodes", "proxy"): "the node proxy is not supported: a node has no kubelet that listens",
}
_SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


class Subresources:
    """The handlers, ready to be added to `Resources`."""

    def __init__(self, registry: Registry, catalogue: Catalogue) -> None:
        self._registry, self._catalogue = registry, catalogue

    def add_to(self, resources: Resources) -> None:
        resources.add("*", "scale", self.scale)
        resources.add("pods", "binding", self.binding)
        resources.add("bindings", "", self.binding)
        resources.add("pods", "eviction", self.eviction)
        for key, name in REFUSED:
            resources.add(key, name, self.refuse)

    async def scale(self, call: Call) -> Response:
        """GET, PUT and PATCH of a Scale."""
        target = call.target
        if call.verb == "get":
            return json_answer(await read_scale(self._registry, call.kind, target.namespace, target.name))
        if call.verb == "patch" and is_apply(call.request):
            return await self._apply_scale(call)
        options = options_of(call, "UpdateOptions")
        make = self._scale_change(call, options)
        value = await write_scale(self._registry, call.kind, target.namespace, target.name, make, options)
        return json_answer(value, warnings=options.warnings)

    async def _apply_scale(self, call: Call) -> Response:
        options = options_of(call, "PatchOptions", applies=True)
        config, target, force = read_configuration(call.request, options), call.target, flag(call.query, "force")
        value = await apply_scale(self._registry, call.kind, target.namespace, target.name, config, options, force=force)
        return json_answer(value, warnings=options.warnings)

    def _scale_change(self, call: Call, options: WriteOptions) -> Transform:
        if call.verb == "update":
            obj = read_as(self._catalogue.kind("autoscaling", "v1", "Scale"), call.request, options)
            return lambda _: obj
        media = body_media(call.request.headers.get("content-type", "") or "none")
        if media == JSON_PATCH:
            operations = read_json_patch(call.request.body)
            return lambda old: _patched(json_patch(old, operations))
        if media in (MERGE_PATCH, STRATEGIC_PATCH):
            change = read_merge_patch(call.request.body)
            return lambda old: _patched(merge(old, change))
        raise unsupported(call.kind, media)

    async def binding(self, call: Call) -> Response:
        """POST pods/NAME/binding, or the older POST bindings."""
        options = options_of(call, "CreateOptions")
        binding = read_as(self._catalogue.kind("", "v1", "Binding"), call.request, options)
        name = call.target.name or dig(binding, "metadata", "name", default="")
        if dig(binding, "metadata", "name", default=name) != name:
            raise bad_request("name in URL does not match name in Binding object")
        binding.setdefault("metadata", {})["name"] = name
        await bind(self._registry, call.target.namespace, binding, options)
        return json_answer(dumps(_SUCCESS), 201, options.warnings)

    async def eviction(self, call: Call) -> Response:
        """POST pods/NAME/eviction: a deletion that somebody asks for, and that a disruption budget may hold back."""
        options = options_of(call, "CreateOptions")
        eviction = read_as(self._catalogue.kind("policy", "v1", "Eviction"), call.request, options)
        await evict(self._registry, call.target.namespace, call.target.name, eviction, options)
        return json_answer(dumps(_SUCCESS), 201, options.warnings)

    @staticmethod
    async def refuse(call: Call) -> Response:
        """Say by name what is not there."""
        raise BareError(405, "MethodNotAllowed", REFUSED[call.kind.key, call.target.subresource])


def _patched(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise bad_request("the patch does not leave an object")
    return value
