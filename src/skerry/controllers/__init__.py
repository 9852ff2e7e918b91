"""What the hub does by itself: brings the cluster from what is wanted to what is, one object at a time.

`start_all(api, settings, now)` gives `Controllers`: `await controllers.run()` until cancelled, `wait_synced()` once
everything is known. `workloads` are Kubernetes' own controllers (embedded API only), `fleet` those of our kinds.
"""

from __future__ import annotations

from skerry.controllers.assembly import Controllers, Settings, start_all

__all__ = ["Controllers", "Settings", "start_all"]
