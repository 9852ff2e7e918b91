"""Defaults that the server adds, one module a group of kinds, one pure function a kind.

Each takes the object after `Typed` has put it into Go's form (structs that Go always writes are there) and completes it in
place; completing it twice changes nothing. Source: pkg/apis/*/v1/defaults.go of Kubernetes 1.32, and its recorded answers.
"""
