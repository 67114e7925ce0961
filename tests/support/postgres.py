"""Run a command with a PostgreSQL server of its own, in a scratch folder, on a Unix socket only.

    python -m tests.support.postgres -- COMMAND …

The command finds the server in SECAI_TEST_DATABASE_URL. Nothing of it is left afterwards.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from tests.support.system import postgres_folder


def main() -> int:
    """Start, run, stop; returns the command's exit status."""
    command = sys.argv[sys.argv.index("--") + 1 :]
    programs = Path(postgres_folder())
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    # PostgreSQL refuses to run as root; Debian's package brings the user for it
    account = "postgres" if os.geteuid() == 0 else None
    if account:
        shutil.chown(folder, account)
    try:
        start(programs, folder, account)
        user = account or pwd.getpwuid(os.getuid()).pw_name
        url = f"postgres://{user}@{quote(str(folder), safe='')}/postgres"
        return subprocess.run(
            command, env={**os.environ, "SECAI_TEST_DATABASE_URL": url}, check=False
        ).returncode
    finally:
        run([programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"], account)
        shutil.rmtree(folder, ignore_errors=True)


def start(programs: Path, folder: Path, account: str | None) -> None:
    """Make a cluster and start its server; raises when it does not come up."""
    run([programs / "initdb", "-D", folder / "data", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C.UTF-8"],
        account)  # fmt: skip
    options = (
        f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=60"
    )
    run([programs / "pg_ctl", "-D", folder / "data", "-l", folder / "log", "-o", options, "start"], account)
    deadline = time.monotonic() + 20
    while not (folder / ".s.PGSQL.5432").exists():
        if time.monotonic() > deadline:
            raise RuntimeError((folder / "log").read_text())
        time.sleep(0.05)


def run(command: list[object], account: str | None) -> None:
    """Run one of PostgreSQL's programs as the user who may."""
    words = [str(part) for part in command]
    subprocess.run(words, user=account, check=True, cwd="/", stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
