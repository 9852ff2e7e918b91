"""The node: what it was told and decided by itself, Pods, devices, Brokers, and the one connection to its hub."""
