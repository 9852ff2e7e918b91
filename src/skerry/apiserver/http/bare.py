"""Errors about the request and no object: their `details` are there, and empty."""

from __future__ import annotations

from skerry.model.errors import ApiError


class BareError(ApiError):
    """Raised for a path, a method or a media type that nothing here serves."""
