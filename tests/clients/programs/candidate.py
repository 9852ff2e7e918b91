"""A candidate for leadership with the official client's election; says when it leads, until it is stopped or loses."""

from __future__ import annotations

import sys
import time

from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock


def lead() -> None:
    print(f"{sys.argv[2]} leads", flush=True)
    while True:
        time.sleep(0.2)


config.load_kube_config()
lock = LeaseLock("election", sys.argv[1], sys.argv[2])
leaderelection.LeaderElection(
    electionconfig.Config(
        lock, lease_duration=8, renew_deadline=6, retry_period=1, onstarted_leading=lead,
        onstopped_leading=lambda: print(f"{sys.argv[2]} lost", flush=True),
    )
).run()  # fmt: skip
