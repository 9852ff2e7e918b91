"""APIServices: which groups are served here, and which by other servers, to whom requests are handed on."""

from skerry.apiserver.aggregation.admit import admit_service
from skerry.apiserver.aggregation.aggregator import Aggregator
from skerry.apiserver.aggregation.plan import APISERVICES

__all__ = ["APISERVICES", "Aggregator", "admit_service"]
