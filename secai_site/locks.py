"""One process of each kind per home: who comes second is told so, instead of taking the sockets away."""

import fcntl
import os
import sys
from pathlib import Path

from django.conf import settings

_held: list[int] = []


def hold(name: str) -> None:
    """Claim `name` in this home for as long as this process lives; ends the process when it is taken.

    The descriptor is kept over an exec, so that the engine keeps its claim.
    """
    path = Path(settings.RUN_DIR) / f"{name}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(
            f"“{name}” runs already with SECAI_HOME={settings.SECAI_HOME}. Stop it first, or use another home."
        )
    os.set_inheritable(descriptor, True)
    _held.append(descriptor)
