"""What a node was told when it joined: `node.json` in its state folder, which its owner may edit."""

from __future__ import annotations

import msgspec


class NodeSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The node's own settings; the hub cannot change them."""

    name: str
    hub: str
    """The hub's address, `https://host:port`."""
    address: str = ""
    """The address that Pods and listeners of this node use; "" finds the one that leads to the hub."""
    mqtt_listen: str = ""
    """`address:port` of the MQTT listener; "" means port 1883 on the node's address; "off" opens none."""
    mqtt_certificate: str = ""
    mqtt_key: str = ""
    """PEM files for MQTT over TLS, which every address but a loopback one needs; "" speaks plain TCP."""
    broker_listen: str = ""
    """`address:port` where Brokers take events over HTTP; "" means a free port on 127.0.0.1; "off" opens none."""
    programs: dict[str, str] = {}
    """What Pods may run with the image `host.skerry.invalid/NAME`: name to path."""
    program_binds: dict[str, list[str]] = {}
    """What a program needs to see besides the host's own folders, read-only (a virtual environment): name to paths."""
    oci_layouts: str = ""
    """Folder of OCI image layouts that Pods may run by digest; "" allows none."""
    host_paths: list[str] = []
    """Folders of the machine that Pods may mount."""
    allow_unenforced_limits: bool = False
    """Run Pods with resource limits also where the machine cannot hold them to these."""
    labels: dict[str, str] = {}
    """Labels that the node claims for itself; `skerry.dev/*` is the hub's alone."""
