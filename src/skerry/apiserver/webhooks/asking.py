"""Admission webhooks: who is asked about a write, in which order, and what becomes of it. `Outside` of the registry's chain.

Mutating webhooks are asked one after the other, validating ones all at once. Every failure ends as `failurePolicy` says. An
object that came back changed (`taking`) is seen by our own plug-ins once more, and by the webhooks that asked for that.
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
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.scale import with_scale
from skerry.apiserver.store import Change, Key
from skerry.apiserver.webhooks.client import Caller, CallError
from skerry.apiserver.webhooks.conversion import Conversions
from skerry.apiserver.webhooks.hooks import CONDITION_COST, MUTATING, VALIDATING, Hook, hooks_of
from skerry.apiserver.webhooks.matching import LATER, NAMESPACES, labels_of, matching
from skerry.apiserver.webhooks.review import Answer, AnswerError, denied, failed, no_dry_run, read_answer, request_of, review
from skerry.apiserver.webhooks.taking import take
from skerry.apiserver.webhooks.variables import Allows, condition_values
from skerry.apiserver.webhooks.views import SCALE, in_version, is_carried_out, metadata_of, places_of, shown
from skerry.model.errors import ApiError, forbidden, internal
from skerry.model.objects import Object

log = logging.getLogger(__name__)

TOGETHER_S = 34.0
"""How long all webhooks together may take over one object, as in Kubernetes."""


class Matched(msgspec.Struct, frozen=True):
    """A hook that is about a kind and operation, and the version in which it wants to see objects."""

    hook: Hook
    kind: Kind


class Question(msgspec.Struct, frozen=True):
    """What a hook is asked about a write: the request, and the objects in its version."""

    matched: Matched
    request: dict[str, Any]
    new: Object | None
    old: Object | None


class Webhooks:
    """Follows the configurations of a registry and asks their webhooks."""

    def __init__(self, registry: Registry, caller: Caller, conversions: Conversions, access: Allows) -> None:
        self._registry, self._caller, self._conversions, self._access = registry, caller, conversions, access
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
        key = (which, kind.key, kind.resource.api_version, asked.operation, asked.subresource)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._select(which, asked)
        return found

    def _select(self, which: str, asked: Admission) -> Sequence[Matched]:
        own = asked.kind.resource
        if own.group == LATER or is_carried_out(asked):
            return ()
        place, kinds = places_of(self._registry, asked)
        others = list(kinds)[1:]
        found: list[Matched] = []
        for _, hooks in sorted(self._hooks[which].items()):
            for hook in hooks:
                there = matching(hook.rules, place, others, exact=hook.exact)
                if there is not None:
                    found.append(Matched(hook, kinds[there]))
        return found

    def _namespace_labels(self, asked: Admission) -> Any:
        """Return the labels that a namespaceSelector is about; None for what has no namespace."""
        if asked.kind.key == NAMESPACES:
            return labels_of(asked.new or asked.old or {})
        if not asked.kind.namespaced:
            return None
        record = self._registry.store.get(Key(NAMESPACES, "", asked.namespace))
        return {} if record is None else labels_of(decode(record.value))

    async def _question(self, asked: Admission, matched: Matched, *, first: bool) -> Question | None:
        """Return what to ask a hook about the object as it is now; None when its selectors or conditions do not want it.

        ApiError when that cannot be known, and matters.
        """
        hook = matched.hook
        new = await shown(self._conversions, asked, asked.new, matched.kind, first=first)
        old = await shown(self._conversions, asked, asked.old, matched.kind)
        if not hook.selectors.match(self._namespace_labels(asked), new, old):
            return None
        request = request_of(asked, matched.kind, first=first)
        if hook.conditions and not self._holds(asked, hook, condition_values(self._access, asked, request, new, old)):
            return None
        return Question(matched, request, new, old)

    @staticmethod
    def _holds(asked: Admission, hook: Hook, values: dict[str, Any]) -> bool:
        problem = ""
        for condition in hook.conditions:
            try:
                holds, _ = condition.program.evaluate(values, limit=CONDITION_COST)
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
        """Ask all, and once more those who want that and were asked before something else changed the object."""
        again: list[int] = []
        before_change: list[int] = []
        changed = False
        for i, matched in enumerate(hooks):
            question = await self._question(asked, matched, first=True)
            if question is None:
                continue
            if await self._mutated(asked, question, f"round_0_index_{i}"):
                changed = True
                again += before_change
                before_change.clear()
            if matched.hook.again:
                before_change.append(i)
        if not changed:
            return
        left = dumps(asked.new) if before_change else b""
        self._registry.chain.mutate(asked)
        if left and dumps(asked.new) != left:
            again += before_change
        for i in sorted(again):
            question = await self._question(asked, hooks[i], first=True)
            if question is not None:
                await self._mutated(asked, question, f"round_1_index_{i}")

    async def _mutated(self, asked: Admission, question: Question, turn: str) -> bool:
        """Ask one hook; return whether it changed the object. What cannot be done with its answer refuses, whatever its policy."""
        hook, kind = question.matched.hook, question.matched.kind
        answer = await self._ask(asked, question, turn, mutating=True)
        if answer is None or not answer.patch:
            return False
        if question.new is None:
            raise internal(f'admission webhook "{hook.name}" attempted to modify the object, which is not supported for this operation')
        try:
            patched = json_patch(question.new, answer.patch)
            if patched == question.new:
                return False
            if metadata_of(patched) is None:
                raise internal("the patch does not leave an object")
            if asked.subresource == SCALE and asked.new is not None:
                take(asked, with_scale(asked.kind, asked.name, asked.new, {**patched, "metadata": {}}))
            else:
                take(asked, await in_version(self._conversions, kind, patched, asked.kind))
        except ApiError as error:
            raise internal(f'admission webhook "{hook.name}": {error.message}') from None
        return True

    async def _validate(self, asked: Admission, hooks: Sequence[Matched]) -> None:
        """Ask all at once, when it is known who is to be asked."""
        questions = [q for m in hooks if (q := await self._question(asked, m, first=False)) is not None]
        results = await asyncio.gather(
            *[self._ask(asked, q, f"round_0_index_{i}", mutating=False) for i, q in enumerate(questions)], return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _ask(self, asked: Admission, question: Question, turn: str, *, mutating: bool) -> Answer | None:
        """Return what one hook says; None when it fails and may, ApiError when it refuses."""
        hook = question.matched.hook
        if asked.options.dry_run and not hook.dry_run:
            raise no_dry_run(hook.name)
        uid, left_s = str(uuid.uuid4()), _left_s(asked)
        try:
            body = review(uid, question.request, question.new, question.old)
            answer = read_answer(await self._caller.call(hook.client, body, timeout_s=min(hook.timeout_s, left_s)), uid, mutating=mutating)
        except (CallError, AnswerError) as error:
            if _left_s(asked) <= 0:
                raise ApiError(504, "Timeout", "Timeout: request did not complete within requested timeout") from None
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


def _left_s(asked: Admission) -> float:
    """Return how long webhooks may still take over this object; it begins with the first one."""
    now = asyncio.get_running_loop().time()
    asked.until = asked.until or now + TOGETHER_S
    return asked.until - now
