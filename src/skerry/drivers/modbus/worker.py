"""The process that holds pymodbus: `python -m skerry.drivers.modbus.worker`, requests on stdin, answers on stdout.

What must stay true: requests of one line (host and port) go one after the other, of several lines at once; after a timeout
or a garbled answer the line is opened anew, so that a late answer is never taken for the next one's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import suppress
from typing import Any

import msgspec
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from skerry.drivers.frames import FrameReader, frame
from skerry.drivers.worker import Answer

MAX_TASKS = 4096
ANSWER_BY = 0.9
"""The share of its time by which a request has an answer here: the rest is for the way back, on a busy machine, too."""
_CODES = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    6: "device busy",
    8: "memory parity error",
}
_FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
_READS = {"input": "read_input_registers", "holding": "read_holding_registers", "coil": "read_coils", "discrete": "read_discrete_inputs"}


class _RequestError(Exception):
    """Ends a request with an answer of this kind."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Line:
    """One TCP connection, shared by the units behind it."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._client: Any = None
        self._taken = asyncio.Lock()
        self._received = 0

    async def do(self, request: dict[str, Any]) -> Any:
        """Do one request within its deadline; raises _RequestError."""
        deadline = asyncio.get_running_loop().time() + request["timeout_s"] * ANSWER_BY
        try:
            async with asyncio.timeout_at(deadline):
                await self._taken.acquire()
        except TimeoutError:
            raise _RequestError("busy", f"{self._host}:{self._port} was busy with other units for {request['timeout_s']:g} s") from None
        self._received = 0
        try:
            async with asyncio.timeout_at(deadline):
                return await self._asked(request)
        except (TimeoutError, ModbusException, OSError) as error:
            self.close()
            raise self._lost(request, error) from error
        finally:
            self._taken.release()

    def _lost(self, request: dict[str, Any], error: Exception) -> _RequestError:
        where = f"{self._host}:{self._port} unit {request.get('unit', 1)}"
        if self._received:
            return _RequestError("peer", f"{where} answered {self._received} bytes that are no reply")
        if isinstance(error, TimeoutError):
            return _RequestError("offline", f"{where} did not answer within {request['timeout_s']:g} s")
        return _RequestError("offline", f"{where}: {error}")

    async def _asked(self, request: dict[str, Any]) -> Any:
        await self._connect()
        if request["op"] == "read":
            return [await self._read(request["unit"], *block) for block in request["blocks"]]
        if request["op"] == "write":
            return await self._write(request["unit"], request["table"], request["start"], request["values"])
        return True

    async def _connect(self) -> None:
        if self._client is not None and self._client.connected:
            return
        self.close()
        self._client = AsyncModbusTcpClient(
            self._host, port=self._port, timeout=3600, retries=0, reconnect_delay=0, trace_packet=self._count
        )
        if not await self._client.connect():
            raise OSError("connection refused")

    def _count(self, sending: bool, data: bytes) -> bytes:
        self._received += 0 if sending else len(data)
        return data

    async def _read(self, unit: int, table: str, start: int, count: int) -> list[int] | str:
        """Return the values, or why the device refused."""
        reply = await getattr(self._client, _READS[table])(start, count=count, device_id=unit)
        self._expect(reply, _FUNCTIONS[table])
        if why := _refusal(reply):
            return why
        values = reply.bits if table in ("coil", "discrete") else reply.registers
        if len(values) < count:
            self.close()
            raise _RequestError("peer", f"{len(values)} values instead of {count}")
        self._received = 0
        return [int(v) for v in values[:count]]

    async def _write(self, unit: int, table: str, start: int, values: list[int]) -> bool:
        if table == "coil":
            function, reply = 5, await self._client.write_coil(start, bool(values[0]), device_id=unit)
        elif len(values) == 1:
            function, reply = 6, await self._client.write_register(start, values[0], device_id=unit)
        else:
            function, reply = 16, await self._client.write_registers(start, values, device_id=unit)
        self._expect(reply, function)
        if why := _refusal(reply):
            raise _RequestError("refused", why)
        return True

    def _expect(self, reply: Any, function: int) -> None:
        """The library does not compare function codes: a reply to another question is no reply."""
        if reply.function_code & 0x7F != function:
            self.close()
            raise _RequestError("peer", f"an answer to function {reply.function_code} instead of {function}")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _refusal(reply: Any) -> str:
    if not reply.isError():
        return ""
    code = getattr(reply, "exception_code", 0)
    if code in (10, 11):
        raise _RequestError("offline", f"the gateway says that the device does not answer (code {code})")
    return f"the device refused: {_CODES.get(code, 'exception')} (code {code})"


class _Service:
    def __init__(self, answers: asyncio.StreamWriter) -> None:
        self._answers = answers
        self._lines: dict[tuple[str, int], _Line] = {}

    async def serve(self, request: dict[str, Any]) -> None:
        """Do one request and answer it."""
        try:
            answer = Answer(request["id"], result=await self._do(request))
        except _RequestError as error:
            answer = Answer(request["id"], error=error.kind, message=str(error))
        except Exception as error:
            answer = Answer(request["id"], error="peer", message=f"{type(error).__name__}: {error}"[:400])
        self._answers.write(frame(msgspec.json.encode(answer)))

    async def _do(self, request: dict[str, Any]) -> Any:
        key = (request["host"], request["port"])
        if request["op"] == "close":
            line = self._lines.pop(key, None)
            return line.close() if line else None
        line = self._lines.setdefault(key, _Line(*key))
        return await line.do(request)

    def close(self) -> None:
        for line in self._lines.values():
            line.close()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # a garbled reply breaks the library's protocol: the deadline answers
    requests = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(os.dup(1), "wb"))
    service = _Service(asyncio.StreamWriter(transport, protocol, None, loop))
    reader, tasks = FrameReader(), set[asyncio.Task[None]]()
    while data := await requests.read(65536):
        for payload in reader.feed(data):
            task = asyncio.create_task(service.serve(msgspec.json.decode(payload)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        while len(tasks) > MAX_TASKS:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    service.close()
    transport.close()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # every failure is an answer; the node logs what matters
    with suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(_main())
