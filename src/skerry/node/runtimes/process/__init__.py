"""The `process` runtime: bubblewrap on the host's kernel and network."""

from __future__ import annotations

from skerry.node.runtimes.process.cgroups import Cgroups, detect
from skerry.node.runtimes.process.programs import HOST, Program, parse_program
from skerry.node.runtimes.process.runtime import ProcessRuntime
from skerry.node.runtimes.process.settings import ProcessSettings

__all__ = ["HOST", "Cgroups", "ProcessRuntime", "ProcessSettings", "Program", "detect", "parse_program"]
