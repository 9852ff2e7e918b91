"""Set up all that skerry needs to run and to be tested, in `.venv`: `python3 scripts/setup.py demo|test`.

Standard library only. Does nothing when the lock file has not changed. As root on Debian it installs the missing
Debian packages; otherwise it says which are missing and what each is for, and goes on where it can.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
UV = "uv==0.13.9"

# program -> Debian package, what it is for
DEMO = {
    "bwrap": ("bubblewrap", "runs Pods of the runtime class `process`"),
    "nsenter": ("util-linux", "`kubectl exec` enters a Pod's namespaces"),
}
TEST = {
    **DEMO,
    "chromium": ("chromium", "drives the console in the tests"),
    "faketime": ("faketime", "gives hubs and nodes wrong clocks in the tests"),
    "strace": ("strace", "lets a disk fail in the tests"),
}


def main() -> int:
    purpose = sys.argv[1] if len(sys.argv) > 1 else "demo"
    if sys.version_info < (3, 11):  # noqa: UP036 - an older Python must be told, not crash
        print(f"skerry needs Python 3.11 or later, this is {sys.version.split()[0]}: install python3.11 and use it", file=sys.stderr)
        return 1
    missing = install_debian(TEST if purpose == "test" else DEMO)
    if not venv_works():
        print("missing: the modules venv and ensurepip of Python. As root: apt-get install python3-venv", file=sys.stderr)
        return 1
    make_environment()
    for program, (package, reason) in missing.items():
        print(f"missing: {program} ({reason}). As root: apt-get install {package}", file=sys.stderr)
    return 1 if missing and purpose == "demo" else 0


def install_debian(wanted: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Install what is not there; return what is still missing."""
    missing = {p: v for p, v in wanted.items() if shutil.which(p) is None}
    packages = sorted({package for package, _ in missing.values()})
    if not venv_works():
        packages.append("python3-venv")
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {', '.join(packages)} ...", file=sys.stderr)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for step in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", *step], env=environment, stdout=subprocess.DEVNULL, check=False)
    return {p: v for p, v in missing.items() if shutil.which(p) is None}


def venv_works() -> bool:
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return False
    return True


def make_environment() -> None:
    """Bring `.venv` to the locked packages."""
    stamp = VENV / ".locked"
    state = hashlib.sha256((ROOT / "uv.lock").read_bytes() + (ROOT / "pyproject.toml").read_bytes() + UV.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == state:
        return
    print("setting up .venv with the locked packages ...", file=sys.stderr)
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", UV], check=True)
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(VENV), "UV_NO_PROGRESS": "1"}
    command = [str(VENV / "bin" / "uv"), "sync", "--frozen", "--inexact", "--quiet", "--all-extras", "--python", str(python)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    stamp.write_text(state)


if __name__ == "__main__":
    sys.exit(main())
