"""Addresses and node ports of Services: which fields a Service gets, and that nothing is ever given twice."""

from skerry.apiserver.services.addresses import Addresses, Ranges
from skerry.apiserver.services.first import complete_services

__all__ = ["Addresses", "Ranges", "complete_services"]
