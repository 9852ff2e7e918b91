"""One process at a time in one data folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skerry.durable import StoreLockedError, hold_folder

HOLD = """
import sys
from pathlib import Path
from skerry.durable import hold_folder
held = hold_folder(Path(sys.argv[1]))
print("held", flush=True)
input()
"""


def test_a_held_folder_is_refused_by_name_and_pid(tmp_path: Path) -> None:
    held = hold_folder(tmp_path / "data")

    with pytest.raises(StoreLockedError, match=f"data is in use by process {os.getpid()}: stop it first"):
        hold_folder(tmp_path / "data")
    held.release()
    held.release()
    hold_folder(tmp_path / "data").release()


def test_the_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    hold_folder(tmp_path / "a" / "data").release()

    assert oct((tmp_path / "a" / "data").stat().st_mode & 0o777) == "0o700"


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        hold_folder(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreLockedError, match=f"process {other.pid}"):
            hold_folder(tmp_path)
        other.kill()
        other.wait()

        hold_folder(tmp_path).release()
