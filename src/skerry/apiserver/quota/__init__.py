"""What a namespace may use: LimitRanges complete and bound single objects, ResourceQuotas bound their sum."""

from skerry.apiserver.quota.ledger import Ledger
from skerry.apiserver.quota.limit_ranger import LimitRanger
from skerry.apiserver.quota.status import QuotaStatus

__all__ = ["Ledger", "LimitRanger", "QuotaStatus"]
