"""What stands in the way of a budget that is missed: written by hand, shown only beside a row that falls short."""

from __future__ import annotations

from collections.abc import Mapping

IN_THE_WAY: Mapping[str, str] = {
    "GET, 32 clients: hub CPU": "two thirds are TLS and the HTTP framework, 62 us with an empty handler; the rest is routing and access",
    "DELETE of a collection": "each object is decoded, judged, sealed and committed by itself; its last bytes are encoded once more",
    "start to ready, store of": "a third is importing modules, a fifth reading and checking objects; the CPU beside it is what it needs",
    "Lease renewal": "TLS, HTTP and the kernel's part in them are half, the commit a sixth; decision 0016 has what each step costs",
    "burst of 200": "the 200 clients share the two cores with the hub; 161,000 were seen on a machine that was free",
    "500 devices": "decisions 0008 and 0018 say what the node's memory is made of, and what was tried",
    "connected nodes, resident": "TLS, HTTP/2 and five watches for each node, and gaps in the heap; decision 0022 has what was found",
    "node idle: alone": "27 MiB are Python and its libraries before a line of ours; decisions 0008 and 0018 have the rest",
    ": rate": "it follows from the CPU per operation on one core, and the load client, the disk and whatever else runs share the machine",
}
