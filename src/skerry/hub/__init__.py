"""The hub: assembles API server, controllers, front door, enrollment, event log and console in one process."""
