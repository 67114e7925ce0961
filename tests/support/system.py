"""Programs of the operating system that the tests need: installed where we may, asked for where not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from glob import glob


def require(package: str, find: Callable[[], str | None]) -> str:
    """The path that `find` returns; Debian's `package` is installed first when it is missing and we are root."""
    found = find()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing {package}", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "-y", package]):
            subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL)
        found = find()
    if found is None:
        sys.exit(f"The tests need {package}. Install it and try again: sudo apt-get install {package}")
    return found


def chromium() -> str:
    """The browser."""
    return require("chromium", lambda: shutil.which("chromium"))


def postgres_folder() -> str:
    """The folder with PostgreSQL's own programs."""
    return require(
        "postgresql", lambda: next(iter(sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)), None)
    )
