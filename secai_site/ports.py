"""Is a TCP port free?"""

import socket

from django.conf import settings


def port_is_free(port: int) -> bool:
    """Whether nothing listens on a TCP port of the bind address."""
    family = socket.AF_INET6 if ":" in settings.BIND else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.BIND, port))
        except OSError:
            return False
    return True
