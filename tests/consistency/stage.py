"""The server of a trial as a process that is killed and started again on the same port, and who may ask it."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path

import trustme

from tests.consistency.wire import Address
from tests.e2e.edge import free_port

START_S = 60.0


class Stage:
    """One server's lives. `up` is set while it answers."""

    def __init__(self, folder: Path, *, held: int, fault: str = "") -> None:
        self.folder, self.held, self.fault = folder, held, fault
        self.up = asyncio.Event()
        self.port = free_port()
        self.process: asyncio.subprocess.Process | None = None
        ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        admin = ca.issue_cert(common_name="admin", organization_name="system:masters")
        admin.private_key_and_cert_chain_pem.write_to_path(str(folder / "admin.pem"))
        self._context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self._context.load_cert_chain(folder / "admin.pem")

    @property
    def address(self) -> Address:
        return Address(self.port, self._context)

    async def start(self, failpoint: str = "") -> None:
        command = [sys.executable, "-m", "tests.consistency.server", str(self.folder), str(self.port), str(self.held)]
        environment = {**os.environ, "SKERRY_FAILPOINT": failpoint}
        with (self.folder / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, *filter(None, [self.fault]), stdout=asyncio.subprocess.PIPE, stderr=log, env=environment
            )
        assert self.process.stdout is not None
        async with asyncio.timeout(START_S):
            said = (await self.process.stdout.readline()).split()
        if said[:1] == [b"ready"]:
            self.port = int(said[1])
            self.up.set()
        elif not failpoint:
            raise RuntimeError(f"the server did not start: {self.log()}")

    async def ended(self) -> int:
        """Wait for the end of this life and return the process's code; 0 when there was none."""
        code = 0 if self.process is None else await self.process.wait()
        self.up.clear()
        return code

    def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)

    def log(self) -> str:
        return (self.folder / "server.log").read_text()[-2000:]
