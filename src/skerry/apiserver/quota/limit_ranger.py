"""Looks up the LimitRanges of a namespace for Pods and claims that are written there."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.quota.limits import claim_refusals, complete_pod, pod_refusals
from skerry.apiserver.registry.admission import Admission, Chain
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.store import Store
from skerry.model.errors import ApiError, forbidden

LIMITRANGES, PODS, CLAIMS = "limitranges", "pods", "persistentvolumeclaims"


class LimitRanger:
    """The admission plug-ins of LimitRanges."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_to(self, chain: Chain) -> None:
        chain.mutating(PODS, ("CREATE",), self._complete)
        chain.validating(PODS, ("CREATE",), self._judge_pod)
        chain.validating(CLAIMS, ("CREATE", "UPDATE"), self._judge_claim)

    def _limits(self, asked: Admission) -> list[Any]:
        records = self._store.list(LIMITRANGES, asked.namespace).records
        return [limit for r in records for limit in (decode(r.value).get("spec") or {}).get("limits") or ()]

    def _complete(self, asked: Admission) -> None:
        assert asked.new is not None
        limits = self._limits(asked)
        if limits:
            complete_pod(asked.new, limits)

    def _judge_pod(self, asked: Admission) -> None:
        assert asked.new is not None
        limits = self._limits(asked)
        if limits:
            _refuse(asked, pod_refusals(asked.new, limits))

    def _judge_claim(self, asked: Admission) -> None:
        if asked.new is None or asked.subresource:
            return
        limits = self._limits(asked)
        if limits:
            _refuse(asked, claim_refusals(asked.new, limits))


def _refuse(asked: Admission, whys: list[str]) -> None:
    if whys:
        raise refusal(asked, list(dict.fromkeys(whys)))


def refusal(asked: Admission, whys: list[str]) -> ApiError:
    """Return the 403 that gives all reasons."""
    text = whys[0] if len(whys) == 1 else f"[{', '.join(whys)}]"
    return forbidden(asked.kind.resource.plural, asked.kind.resource.group, asked.name, text)
