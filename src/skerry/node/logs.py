"""The node's own log: a line an event, its facts as `key=value`, nothing of a peer's making that a terminal would obey."""

from __future__ import annotations

import logging
import sys
import time

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
MAX_VALUE = 1024


class FactsFormatter(logging.Formatter):
    """`2026-01-05T10:00:02Z info container adopted container=... pid=...`"""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        facts = " ".join(f"{k}={_quoted(v)}" for k, v in vars(record).items() if k not in _STANDARD)
        line = f"{at} {record.levelname.lower()} {printable(record.getMessage())}"
        line = f"{line} {facts}" if facts else line
        if record.exc_info:
            line += "\n" + "\n".join(printable(part) for part in self.formatException(record.exc_info).splitlines())
        return line


def printable(text: str) -> str:
    """Return *text* with control characters shown, not obeyed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quoted(value: object) -> str:
    text = printable(str(value)[:MAX_VALUE])
    return f'"{text}"' if " " in text or not text else text


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send everything of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FactsFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
