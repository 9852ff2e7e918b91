"""The hub's log lines: a constant event and its facts, as logfmt on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any


def configure(level: int = logging.INFO) -> None:
    """Send every log line of this process through structlog."""
    structlog = _structlog()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                printable,
                structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").addFilter(is_ours)


def is_ours(record: logging.LogRecord) -> bool:
    """Say whether a line of the HTTP library tells of us: what is no HTTP is answered with 400, and anybody could fill the disk with it."""
    error = record.exc_info[1] if record.exc_info else None
    return not (type(error).__module__ == "aiohttp.http_exceptions" and getattr(error, "code", 500) < 500)


def printable(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep control characters out of the log: names come from peers, and a terminal obeys what it is shown."""
    for key, value in event.items():
        if not isinstance(value, (bool, int, float)) and value is not None:
            event[key] = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(value)[:8192])
    return event


def _structlog() -> Any:
    """Import structlog without rich, which it would load for pretty terminals: 8 MB of a hub's memory."""
    absent = "rich" not in sys.modules
    if absent:
        sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog
        import structlog.stdlib
    finally:
        if absent:
            del sys.modules["rich"]
    return structlog
