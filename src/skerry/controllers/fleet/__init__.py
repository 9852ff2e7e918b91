"""The controllers of our own kinds, run with the embedded API and beside a real cluster: Sites, Devices, Brokers, Triggers."""
