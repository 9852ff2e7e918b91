"""Fakes and helpers for tests, public: never imported at run time."""
