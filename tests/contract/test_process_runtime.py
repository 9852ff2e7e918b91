"""The process runtime on this host: the contract, and what only sandboxes have to keep."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.node.runtimes.contract import Runtime
from skerry.node.runtimes.process import ProcessRuntime, ProcessSettings, Program, detect
from tests.contract.runtime import Again, RuntimeContract

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")]

BUSY = Path(__file__).with_name("busy.py")


@pytest.fixture
def settings(tmp_path: Path) -> ProcessSettings:
    program = tmp_path / "busy"
    program.write_text(f"#!/usr/bin/python3 -I\n{BUSY.read_text()}")
    program.chmod(0o755)
    return ProcessSettings(pods=tmp_path / "pods", programs={"busy": Program(str(program))})


@pytest.fixture
async def lives(settings: ProcessSettings) -> AsyncIterator[list[ProcessRuntime]]:
    cgroups = detect(f"skerry-test-{os.getpid()}")
    found = [ProcessRuntime(settings, cgroups)]
    await found[0].open()
    yield found
    for key in {c.key for c in found[-1].containers()}:
        await found[-1].stop(key, grace_s=0)
    await found[-1].close()
    for parent in cgroups.parents.values():
        parent.rmdir()


@pytest.fixture
def runtime(lives: list[ProcessRuntime]) -> Runtime:
    return lives[-1]


@pytest.fixture
def again(lives: list[ProcessRuntime], settings: ProcessSettings) -> Again:
    async def next_life() -> Runtime:
        await lives[-1].close()
        lives.append(ProcessRuntime(settings, detect(f"skerry-test-{os.getpid()}")))
        await lives[-1].open()
        return lives[-1]

    return next_life


class TestProcessRuntime(RuntimeContract):
    pass
