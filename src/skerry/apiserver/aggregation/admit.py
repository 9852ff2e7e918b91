"""What is wrong with an APIService is said when it is written."""

from __future__ import annotations

from skerry.apiserver.aggregation.plan import judge
from skerry.apiserver.registry.admission import Admission
from skerry.model.errors import invalid


def admit_service(asked: Admission) -> None:
    """Refuse an APIService that could not be served; ApiError 422."""
    if asked.new is None or asked.subresource:
        return
    causes = judge(asked.new)
    if causes:
        raise invalid("APIService", "apiregistration.k8s.io", asked.name, causes)
