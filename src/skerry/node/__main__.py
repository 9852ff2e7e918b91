"""The node process itself: `skerry node run` becomes `python -m skerry.node STATE`, so that the command line is not in its memory.

Decision 0008 says what each setting saves. One that the environment has already is left as it is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

FRUGAL = {
    "LC_ALL": "C",  # texts are UTF-8 all the same (PEP 540), without the tables of a language
    "MALLOC_ARENA_MAX": "1",  # the few threads wait for disks: a heap of its own for each gains nothing
    "PYTHONNODEBUGRANGES": "1",  # tracebacks keep their lines, and lose the carets below them
}
TLS_BUFFER_BYTES = 32 << 10
"""What asyncio reads of one TLS connection at once: its own 256 KiB are written with zeros for each, and stay resident."""


def become(state: Path) -> NoReturn:
    """Turn this process into the node of *state*: same process id, same environment but for what keeps it small."""
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-P", "-m", "skerry.node", str(state)]
    os.execve(sys.executable, command, {**FRUGAL, **os.environ})  # noqa: S606  # no shell: a path that holds anything is one word


def main(words: list[str]) -> None:
    """Run the node of the state folder that is the only word."""
    from asyncio.sslproto import SSLProtocol

    from skerry.node.agent import run
    from skerry.node.identity import IdentityError, StateFolder

    SSLProtocol.max_size = TLS_BUFFER_BYTES
    if len(words) != 1:
        sys.exit("usage: skerry node run --state FOLDER")
    try:
        run(StateFolder(Path(words[0])))
    except IdentityError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
