"""Those outside who have a say: admission and conversion webhooks."""
