"""A box of its own for the tests, set up before Django is loaded (`-p tests.support.environment`).

`SECAI_TEST_DATABASE_URL` names a PostgreSQL server to run the suite on; without it, it runs on SQLite.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="secai-test-"))
_OURS = os.getpid()


def _clear() -> None:
    """Remove the box, unless this is a process that a test forked."""
    if os.getpid() == _OURS:
        shutil.rmtree(HOME, ignore_errors=True)


def _prepare() -> None:
    database = os.environ.get("SECAI_TEST_DATABASE_URL")
    for name in [name for name in os.environ if name.startswith("SECAI_")]:
        del os.environ[name]
    os.environ |= {
        "SECAI_HOME": str(HOME),
        "SECAI_ENGINE": "echo",
        "SECAI_DEMO_MODEL": "0",
        "SECAI_LOG_LEVEL": "INFO",
    }
    if database:
        os.environ["SECAI_DATABASE_URL"] = database


_prepare()
atexit.register(_clear)
