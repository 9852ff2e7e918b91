"""Bearer tokens: of ServiceAccounts (signed, bound to what must still exist) and of nodes-to-be (bootstrap tokens)."""
