"""skerry: computers and devices at the edge, managed through the Kubernetes API."""

__version__ = "0.1.0"
