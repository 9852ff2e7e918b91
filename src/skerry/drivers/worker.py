"""A worker process that holds a heavy protocol library: it starts with the first user and ends with the last.

What must stay true: a call ends by its deadline whatever the worker does; a worker that died is started again by the next
call, not more often than once in `RESTART_S`; a worker never outlives the node, because its standard input then ends.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import msgspec

from skerry.drivers.contract import BusyError, DeviceOfflineError, DriverError, PeerError, RefusedError
from skerry.drivers.frames import FrameError, FrameReader, frame
from skerry.model.unreadable import NOT_JSON

log = logging.getLogger(__name__)

RESTART_S = 1.0
STOP_S = 2.0
MAX_CALLS = 4096
ERRORS: dict[str, type[DriverError]] = {"offline": DeviceOfflineError, "peer": PeerError, "refused": RefusedError, "busy": BusyError}


class Answer(msgspec.Struct, omit_defaults=True):
    """What a worker says: `error` is a key of ERRORS, else `result` holds."""

    id: int
    result: Any = None
    error: str = ""
    message: str = ""


class Worker:
    """One worker process, `python -m <module>`, shared by all who called `use`."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._users = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._started_at = float("-inf")
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    @property
    def pid(self) -> int | None:
        """The running process, for measurement; None while nothing needs it."""
        return self._process.pid if self._process else None

    def use(self) -> None:
        """Count one more user; the process starts with the first call."""
        self._users += 1

    async def release(self) -> None:
        """Count one user less; the process ends with the last one."""
        self._users -= 1
        if self._users <= 0:
            await self.close()

    async def call(self, request: dict[str, Any], *, timeout_s: float) -> Any:
        """Have the worker do *request*; raises the DriverError that it reports, DeviceOfflineError when it does not answer."""
        if len(self._calls) >= MAX_CALLS:
            raise BusyError(f"{MAX_CALLS} calls wait for the {self._module} worker already")
        self._number += 1
        number = self._number
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self._start()
                self._send({"id": number, "timeout_s": timeout_s, **request})
                return await answer
        except TimeoutError as error:
            raise DeviceOfflineError(f"no answer within {timeout_s:g} s") from error
        finally:
            self._calls.pop(number, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, even if the deadline came first

    def _send(self, request: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise DeviceOfflineError(f"the {self._module} worker ended")
        self._process.stdin.write(frame(msgspec.json.encode(request)))

    async def _start(self) -> None:
        async with self._starting:
            if self._process is not None:
                return
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._started_at + RESTART_S - loop.time()))
            self._started_at = loop.time()
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(sys.executable, "-m", self._module, stdin=pipe, stdout=pipe)
            self._reading = asyncio.create_task(self._read(self._process), name=f"worker {self._module}")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        reader = FrameReader()
        try:
            while data := await process.stdout.read(65536):
                for payload in reader.feed(data):
                    self._settle(msgspec.json.decode(payload, type=Answer))
        except (FrameError, *NOT_JSON):
            log.exception("worker garbled", extra={"module": self._module})
        self._process = None
        code = await self._ended(process)
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(DeviceOfflineError(f"the {self._module} worker ended with code {code}"))
        if self._users > 0:
            log.warning("worker ended", extra={"module": self._module, "code": code})

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        """Wait for the process, which said all that it will; it is killed when it does not leave by itself."""
        try:
            return await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            return await process.wait()

    def _settle(self, answer: Answer) -> None:
        waiting = self._calls.get(answer.id)
        if waiting is None or waiting.done():
            return
        if answer.error:
            waiting.set_exception(ERRORS.get(answer.error, PeerError)(answer.message))
        else:
            waiting.set_result(answer.result)

    async def close(self) -> None:
        """End the process: its input ends, and what does not leave within STOP_S is killed."""
        process, reading = self._process, self._reading
        if process is None or reading is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        done, _ = await asyncio.wait([reading], timeout=STOP_S)
        if not done:
            process.kill()
            await reading
        self._reading = None
