"""Those outside who have a say in writes, and in versions: admission webhooks and conversion webhooks."""

from skerry.apiserver.webhooks.asking import Webhooks
from skerry.apiserver.webhooks.client import Caller
from skerry.apiserver.webhooks.conversion import Conversions

__all__ = ["Caller", "Conversions", "Webhooks"]
