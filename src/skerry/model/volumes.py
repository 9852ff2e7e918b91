"""How hub and node speak of volumes that are a folder on the node."""

LOCAL_PATHS = "skerry.dev/local-volumes"
"""Annotation of a Pod, set when it is bound: claim -> path on its node, as a JSON object."""
