"""`make demo` as its visitor has it: what it prints is true, each of its six commands works, and Ctrl-C leaves nothing."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from demo.stage import Stage, is_free

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60


class Terminal:
    """`python -m demo` in a process group of its own; what it prints comes line by line."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "demo"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
        self.lines: queue.Queue[str] = queue.Queue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def until(self, pattern: str) -> list[str]:
        """Return the lines up to the first that has *pattern*."""
        seen: list[str] = []
        while not seen or not re.search(pattern, seen[-1]):
            try:
                seen.append(self.lines.get(timeout=DEADLINE_S))
            except queue.Empty:
                pytest.fail(f"the demo did not print {pattern!r}, but:\n" + "\n".join(seen))
        return seen

    def press_enter(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, sign: int) -> int:
        os.killpg(self.process.pid, sign)
        code: int = self.process.wait(timeout=DEADLINE_S)
        self.reader.join(timeout=DEADLINE_S)
        return code


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    with suppress(ProcessLookupError):
        made.end(signal.SIGTERM)
    made.process.stdin.close()
    made.process.stdout.close()


def commands(printed: list[str]) -> tuple[str, list[str]]:
    """Return what to type first, and the six commands."""
    first = next(line.strip() for line in printed if line.startswith("  export "))
    after = printed.index(next(line for line in printed if line.startswith("Six commands")))
    return first, [line.strip() for line in printed[after + 1 :] if line.startswith("  ")]


def typed(first: str, command: str) -> str:
    """Return what a shell prints; what follows its subject for ever is ended once it has said something."""
    line = f"{command} | head -n 1" if re.search(r" (-f|--follow)\b", command) else command
    done = subprocess.run(["sh", "-c", f"{first}; {line}"], cwd="/", capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def running_with(*marks: str) -> list[str]:
    """Return the command lines and environments that carry one of the marks: the demo's folder, the UID of a Pod."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            told = [*process.cmdline(), *process.environ().values()]
            found += [" ".join(told[:8])] if any(mark in word for mark in marks for word in told) else []
    return found


def test_the_demo_prints_what_is_true_and_ctrl_c_leaves_nothing(terminal: Terminal) -> None:
    printed = terminal.until("Ctrl-C ends everything")
    first, six = commands(printed)
    text = "\n".join(printed)
    folder = Path(re.search(r"kubeconfig +(\S+)", text)[1]).parents[1]  # type: ignore[index]

    assert len(six) == 6
    assert re.search(r"console +https://\S+/console/", text)
    assert re.search(r"sign in with the code (\w{4}-){2}\w{4}", text)
    assert (folder / "hub" / "admin.kubeconfig").stat().st_mode & 0o777 == 0o600
    assert all(typed(first, command).strip() for command in six[:-1])

    pods = typed(first, "kubectl get pods -o jsonpath='{.items[*].metadata.uid}'").split()
    assert typed(first, six[-1]) == ""
    terminal.until("hub has ended .killed by SIGKILL.: press Enter here to start it again")
    terminal.press_enter()
    terminal.until("hub runs again")

    assert terminal.end(signal.SIGINT) == 0
    assert not folder.exists()
    assert running_with(str(folder), *pods) == []


def test_what_a_killed_demo_left_is_ended_by_the_next() -> None:
    program = "from demo.stage import Stage; s = Stage.new(print); s.start('x', ['sleep', '600']); print(s.folder, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        folder = Path(demo.stdout.readline().strip())
        assert folder not in [stage.folder for stage in Stage.abandoned(print)]
        assert len(running_with(str(folder))) == 1

        demo.kill()

    [left] = [stage for stage in Stage.abandoned(print) if stage.folder == folder]
    assert left.down() == []
    assert not folder.exists()
    assert running_with(str(folder)) == []


def test_a_folder_that_somebody_else_laid_out_is_not_ended(tmp_path: Path) -> None:
    mine, laid_out = tmp_path / "mine", tmp_path / "laid-out"
    mine.mkdir()
    (mine / "lock").touch()
    laid_out.mkdir()
    (laid_out / "lock").symlink_to(mine / "lock")
    (tmp_path / "link").symlink_to(mine)

    assert is_free(mine / "lock")
    assert not is_free(laid_out / "lock")
    assert not is_free(tmp_path / "link" / "lock")
    if os.geteuid() == 0:
        os.chown(mine, 12345, -1)
        assert not is_free(mine / "lock")
