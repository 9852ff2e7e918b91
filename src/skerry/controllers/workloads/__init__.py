"""The controllers of Kubernetes' own kinds, run only with the embedded API: a real cluster brings its own."""
