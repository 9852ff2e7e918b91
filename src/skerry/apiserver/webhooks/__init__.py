"""Those outside who have a say in writes, and in versions: admission webhooks and conversion webhooks."""

from skerry.apiserver.webhooks.asking import Webhooks

__all__ = ["Webhooks"]
