"""Who has a say in writes beside our own plug-ins, put together: policies and webhooks. The chain's `Outside`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skerry.apiserver.policies import BINDINGS, POLICIES, Policies, binding_causes, pod_security, policy_causes
from skerry.apiserver.registry.admission import Admission, Plugin
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.webhooks import Caller, Conversions, Webhooks
from skerry.apiserver.webhooks.hooks import MUTATING, VALIDATING, configuration_causes
from skerry.apiserver.webhooks.variables import Allows
from skerry.model.errors import Cause, invalid
from skerry.model.objects import Object


class Judges:
    """Policies judge before webhooks, as in Kubernetes; nobody is waited for when nothing is configured."""

    def __init__(self, registry: Registry, access: Allows) -> None:
        self._caller = Caller(registry.store)
        registry.conversions = conversions = Conversions(self._caller)
        self._webhooks, self._policies = Webhooks(registry, self._caller, conversions, access), Policies(registry, access)
        for key in (MUTATING, VALIDATING):
            registry.chain.validating(key, ("CREATE", "UPDATE"), _judges(configuration_causes))
        registry.chain.validating(POLICIES, ("CREATE", "UPDATE"), _judges(policy_causes))
        registry.chain.validating(BINDINGS, ("CREATE", "UPDATE"), _judges(binding_causes))
        pod_security.add_to(registry.chain)
        registry.chain.everywhere(self._policies.judge)
        registry.chain.outside = self

    def load(self) -> None:
        """Read what is configured, and follow it from now on."""
        self._webhooks.load()
        self._policies.load()

    def mutating(self, asked: Admission) -> Awaitable[None] | None:
        return self._webhooks.mutating(asked)

    def validating(self, asked: Admission) -> Awaitable[None] | None:
        return self._webhooks.validating(asked)

    def below(self, asked: Admission) -> Awaitable[None] | None:
        self._policies.judge(asked)
        return self._webhooks.validating(asked)

    async def close(self) -> None:
        await self._caller.close()


def _judges(causes_of: Callable[[Object], list[Cause]]) -> Plugin:
    """Return the plug-in that refuses what *causes_of* finds something wrong with."""

    def plugin(asked: Admission) -> None:
        if asked.new is None or asked.subresource:
            return
        causes = causes_of(asked.new)
        if causes:
            raise invalid(asked.kind.resource.kind, asked.kind.resource.group, asked.name, causes)

    return plugin
