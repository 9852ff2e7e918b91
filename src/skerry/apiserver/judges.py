"""Who has a say in writes beside our own plug-ins, put together: policies and webhooks. The chain's `Outside`."""

from __future__ import annotations

from collections.abc import Awaitable

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.webhooks import Webhooks
from skerry.apiserver.webhooks.hooks import MUTATING, VALIDATING, configuration_causes
from skerry.model.errors import invalid


class Judges:
    """Policies judge before webhooks, as in Kubernetes; nobody is waited for when nothing is configured."""

    def __init__(self, registry: Registry) -> None:
        self._webhooks = Webhooks(registry)
        for key in (MUTATING, VALIDATING):
            registry.chain.validating(key, ("CREATE", "UPDATE"), _judge_configuration)
        registry.chain.outside = self

    def load(self) -> None:
        """Read what is configured, and follow it from now on."""
        self._webhooks.load()

    def mutating(self, asked: Admission) -> Awaitable[None] | None:
        return self._webhooks.mutating(asked)

    def validating(self, asked: Admission) -> Awaitable[None] | None:
        return self._webhooks.validating(asked)

    async def close(self) -> None:
        await self._webhooks.close()


def _judge_configuration(asked: Admission) -> None:
    assert asked.new is not None
    causes = configuration_causes(asked.new)
    if causes:
        raise invalid(asked.kind.resource.kind, asked.kind.resource.group, asked.name, causes)
