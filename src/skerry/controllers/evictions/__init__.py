"""Pods that have to leave their node: because of a taint, or because their Site is cut off for longer than it is built for."""
