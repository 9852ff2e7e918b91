"""Requests and answers: routes, verbs, discovery, tables, streams to Pods; handlers know no framework, `shell` does."""
