"""Admission webhooks: who is asked about a write, in which order, and what becomes of it. `Outside` of the registry's chain.

Mutating webhooks are asked one after the other, validating ones all at once. Every failure ends as `failurePolicy` says. An
object that came back changed is pruned and completed as if a client had sent it; our own plug-ins see it once more, and so do
the webhooks that asked for that.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

import msgspec

from skerry.apiserver.access.audit.notes import annotate
from skerry.apiserver.cel import CostError, EvaluationError
from skerry.apiserver.patch import json_patch
from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.create import place
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.meta import prepare_changed, prepare_new
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.strategy import prepare_for_update
from skerry.apiserver.store import Change, Key
from skerry.apiserver.webhooks.client import Caller, CallError
from skerry.apiserver.webhooks.conversion import Conversions
from skerry.apiserver.webhooks.hooks import CONDITION_COST, MUTATING, VALIDATING, Hook, hooks_of
from skerry.apiserver.webhooks.matching import LATER, NAMESPACES, Place, labels_of, matching_version
from skerry.apiserver.webhooks.review import Answer, AnswerError, denied, failed, no_dry_run, read_answer, request_of, review
from skerry.apiserver.webhooks.variables import condition_values
from skerry.apiserver.webhooks.views import SCALE, in_version, is_carried_out, metadata_of, shown
from skerry.model.errors import ApiError, forbidden, internal
from skerry.model.objects import Object

log = logging.getLogger(__name__)


class Matched(msgspec.Struct, frozen=True):
    """A hook that is about a kind and operation, and the version in which it wants to see objects."""

    hook: Hook
    kind: Kind


class Webhooks:
    """Follows the configurations of a registry and asks their webhooks."""

    def __init__(self, registry: Registry, caller: Caller, conversions: Conversions) -> None:
        self._registry, self._caller, self._conversions = registry, caller, conversions
        self._hooks: dict[str, dict[str, list[Hook]]] = {MUTATING: {}, VALIDATING: {}}
        self._found: dict[tuple[str, str, str, str, str], Sequence[Matched]] = {}
        self._kinds_seen = -1

    def load(self) -> None:
        """Read what is configured, and follow what changes."""
        store = self._registry.store
        self.follow([Change("ADDED", r, None) for key in (MUTATING, VALIDATING) for r in store.list(key).records])
        store.subscribe(self.follow)

    def follow(self, changes: Iterable[Change]) -> None:
        for change in changes:
            key = change.record.key
            there = self._hooks.get(key.resource)
            if there is None:
                continue
            there.pop(key.name, None)
            if change.type != "DELETED":
                there[key.name] = hooks_of(decode(change.record.value))
            self._found.clear()

    def mutating(self, asked: Admission) -> Awaitable[None] | None:
        if not self._hooks[MUTATING]:
            return None
        hooks = self._matching(MUTATING, asked)
        return self._mutate(asked, hooks) if hooks else None

    def validating(self, asked: Admission) -> Awaitable[None] | None:
        if not self._hooks[VALIDATING]:
            return None
        hooks = self._matching(VALIDATING, asked)
        return self._validate(asked, hooks) if hooks else None

    def _matching(self, which: str, asked: Admission) -> Sequence[Matched]:
        """Return the hooks whose rules are about this kind and operation; found once, kept until something changes."""
        if self._kinds_seen != self._registry.kinds.changes:
            self._kinds_seen = self._registry.kinds.changes
            self._found.clear()
        kind = asked.kind
        key = (which, kind.key, kind.resource.version, asked.operation, asked.subresource)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._select(which, asked)
        return found

    def _select(self, which: str, asked: Admission) -> Sequence[Matched]:
        own = asked.kind.resource
        if own.group == LATER or is_carried_out(asked):
            return ()
        namespaced = asked.kind.namespaced
        place = Place(own.group, own.version, own.plural, asked.subresource, asked.operation, namespaced)
        versions = {k.resource.version: k for k in self._registry.kinds if k.key == asked.kind.key and k.resource.group == own.group}
        versions.setdefault(own.version, asked.kind)
        others = [v for v in versions if v != own.version]
        found: list[Matched] = []
        for _, hooks in sorted(self._hooks[which].items()):
            for hook in hooks:
                version = matching_version(hook.rules, place, others, exact=hook.exact)
                if version is not None:
                    found.append(Matched(hook, versions[version]))
        return found

    def _namespace_labels(self, asked: Admission) -> Any:
        """Return the labels that a namespaceSelector is about; None for what has no namespace."""
        if asked.kind.key == NAMESPACES:
            return labels_of(asked.new or asked.old or {})
        if not asked.kind.namespaced:
            return None
        record = self._registry.store.get(Key(NAMESPACES, "", asked.namespace))
        return {} if record is None else labels_of(decode(record.value))

    def _wants(self, matched: Matched, asked: Admission, request: dict[str, Any], new: Object | None, old: Object | None) -> bool:
        """Say whether the hook's selectors and conditions want this very object; ApiError when it cannot be known, and matters."""
        hook = matched.hook
        place = Place("", "", "", "", "", asked.kind.namespaced)
        if not hook.selectors.match(place, self._namespace_labels(asked), new, old):
            return False
        if not hook.conditions:
            return True
        problem = ""
        for condition in hook.conditions:
            try:
                holds, _ = condition.program.evaluate(condition_values(asked, request, new, old), limit=CONDITION_COST)
            except (EvaluationError, CostError) as error:
                problem = problem or f"expression '{condition.program.source}' resulted in error: {error}"
                continue
            if holds is not True:
                return False
        if problem and hook.fails:
            resource = asked.kind.resource
            raise forbidden(resource.plural, resource.group, asked.name, problem)
        return not problem

    async def _mutate(self, asked: Admission, hooks: Sequence[Matched]) -> None:
        again: list[Matched] = []
        changed_any = False
        for i, matched in enumerate(hooks):
            if await self._mutated(asked, matched, f"round_0_index_{i}"):
                changed_any = True
                again = [m for m in hooks[:i] if m.hook.again]
        if changed_any:
            self._registry.chain.mutate(asked)
        for i, matched in enumerate(again):
            await self._mutated(asked, matched, f"round_1_index_{i}")

    async def _mutated(self, asked: Admission, matched: Matched, turn: str) -> bool:
        """Ask one hook; return whether it changed the object."""
        answer = await self._ask(asked, matched, turn, mutating=True)
        if answer is None or not answer.patch or asked.new is None:
            return False
        try:
            if asked.subresource == SCALE:
                raise internal("a Scale cannot be changed by a webhook")
            before = await shown(self._conversions, asked, asked.new, matched.kind, first=True)
            patched = json_patch(before, answer.patch)
            if patched == before:
                return False
            if metadata_of(patched) is None:
                raise internal("the patch does not leave an object")
            self._take(asked, await in_version(self._conversions, matched.kind, patched, asked.kind))
        except ApiError as error:
            if matched.hook.fails:
                raise internal(f'admission webhook "{matched.hook.name}": {error.message}') from None
            return False
        return True

    @staticmethod
    def _take(asked: Admission, patched: Object) -> None:
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

    async def _validate(self, asked: Admission, hooks: Sequence[Matched]) -> None:
        results = await asyncio.gather(
            *[self._ask(asked, m, f"round_0_index_{i}", mutating=False) for i, m in enumerate(hooks)], return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _ask(self, asked: Admission, matched: Matched, turn: str, *, mutating: bool) -> Answer | None:
        """Ask one hook about the object as it is now; None when it is not concerned, ApiError when it refuses."""
        hook = matched.hook
        new = await shown(self._conversions, asked, asked.new, matched.kind, first=mutating)
        old = await shown(self._conversions, asked, asked.old, matched.kind)
        request = request_of(asked, matched.kind)
        if not self._wants(matched, asked, request, new, old):
            return None
        if asked.options.dry_run and not hook.dry_run:
            raise no_dry_run(hook.name)
        uid = str(uuid.uuid4())
        try:
            body = await self._caller.call(hook.client, review(uid, request, new, old), timeout_s=hook.timeout_s)
            answer = read_answer(body, uid, mutating=mutating)
        except (CallError, AnswerError) as error:
            if hook.fails:
                raise failed(hook.name, str(error)) from None
            annotate(f"failed-open.{'mutation' if mutating else 'validating'}.webhook.admission.k8s.io/{turn}", hook.name)
            log.warning("webhook failed and is ignored", extra={"webhook": hook.name, "cause": str(error)})
            return None
        asked.options.warnings += answer.warnings
        for key, value in answer.annotations.items():
            annotate(f"{hook.name}/{key}", value)
        if not answer.allowed:
            raise denied(hook.name, answer.status)
        return answer


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
