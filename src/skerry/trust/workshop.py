"""Asks the worker process for keys and certificates; it starts when it is needed and ends when it is not.

What stays true: one worker at most, one request at a time, each with a deadline; a worker that misses it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from skerry.trust.der import TrustError
from skerry.trust.wire import MAX_LINE


class WorkshopError(Exception):
    """The worker could not do its work: a missing file, a dead process, a deadline."""


class Workshop:
    """The way to the trust worker. Close it at the end."""

    def __init__(self, *, idle_s: float = 5.0, timeout_s: float = 20.0) -> None:
        self._idle_s = idle_s
        self._timeout_s = timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._end: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def make_node_key(self, key_file: Path, name: str) -> tuple[str, str]:
        """Make the key unless it is there; return a certificate request (PEM) and the key's hash."""
        done = await self._ask("make-node-key", key_file=str(key_file), name=name)
        return done["request"], done["key_hash"]

    async def make_ca(self, folder: Path) -> None:
        """Make `ca.key` and `ca.crt` in *folder*; fails when there is a key already."""
        await self._ask("make-ca", key_file=str(folder / "ca.key"), certificate_file=str(folder / "ca.crt"))

    async def issue_server(self, ca_folder: Path, file: Path, names: list[str]) -> None:
        """Write the hub's key and certificate for these names into one file."""
        await self._ask("issue-server", ca_folder=str(ca_folder), file=str(file), names=names)

    async def issue_admin(self, ca_folder: Path, file: Path, *, user: str, group: str) -> None:
        """Write an administrator's key and certificate into one file."""
        await self._ask("issue-admin", ca_folder=str(ca_folder), file=str(file), user=user, group=group)

    async def read_request(self, request: str) -> str:
        """Check a certificate request's signature and return its key's hash; raises TrustError when it is no good."""
        return str((await self._ask("read-request", request=request))["key_hash"])

    async def make_token_keys(self, file: Path) -> None:
        """Make the key that signs the tokens of ServiceAccounts; fails when the file is there already."""
        await self._ask("make-token-keys", file=str(file))

    async def issue_node(self, ca_folder: Path, request: str, node: str) -> str:
        """Return a certificate (PEM) for the node's key."""
        return str((await self._ask("issue-node", ca_folder=str(ca_folder), request=request, node=node))["certificate"])

    async def issue_requested(self, ca_folder: Path, request: str, lifetime_s: int) -> str:
        """Return a client's certificate (PEM) for a request's key and subject; raises TrustError when it may not be issued."""
        done = await self._ask("issue-requested", ca_folder=str(ca_folder), request=request, lifetime_s=lifetime_s)
        return str(done["certificate"])

    async def close(self) -> None:
        """End the worker, if one runs."""
        async with self._turn:
            await self._stop()
        await asyncio.gather(*self._ending)

    async def _ask(self, task: str, **fields: Any) -> Mapping[str, Any]:
        line = msgspec.json.encode({"task": task, "now": datetime.now(UTC).timestamp(), **fields}) + b"\n"
        if len(line) > MAX_LINE:
            raise TrustError(f"a request of {len(line)} bytes is more than {MAX_LINE}")
        async with self._turn:
            if self._end is not None:
                self._end.cancel()
            try:
                done = await asyncio.wait_for(self._exchange(line), self._timeout_s)
            except (OSError, ValueError, TimeoutError) as error:
                await self._stop()
                raise WorkshopError(f"the trust worker failed at {task!r}: {str(error) or type(error).__name__}") from error
            except asyncio.CancelledError:
                await self._stop()
                raise
            self._end = asyncio.get_running_loop().call_later(self._idle_s, self._retire)
        return _checked(task, done)

    async def _exchange(self, line: bytes) -> dict[str, Any]:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "skerry.trust.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MAX_LINE,
                start_new_session=True,  # Ctrl-C is ours to handle, not the worker's
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line)
        await process.stdin.drain()
        answer = await process.stdout.readline()
        if not answer:
            raise ValueError("it ended without an answer")
        return msgspec.json.decode(answer, type=dict[str, Any])

    def _retire(self) -> None:
        if not self._turn.locked():
            task = asyncio.ensure_future(self.close_idle())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close_idle(self) -> None:
        """End the worker between two requests; the next request starts another."""
        async with self._turn:
            await self._stop()

    async def _stop(self) -> None:
        if self._end is not None:
            self._end.cancel()
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 2)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _checked(task: str, done: dict[str, Any]) -> Mapping[str, Any]:
    if "error" not in done:
        return done
    if done.get("refused"):
        raise TrustError(done["error"])
    raise WorkshopError(f"the trust worker could not {task}: {done['error']}")
