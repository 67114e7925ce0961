"""Numbered checks: what must hold before this box serves anyone."""

import ipaddress
import os
import stat
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Caution


@register("secai")
def check_bind(**_kwargs: Any) -> list[CheckMessage]:
    """E001, E002: an address that others can reach needs TLS in front and its host names listed."""
    try:
        if ipaddress.ip_address(settings.BIND).is_loopback:
            return []
    except ValueError:
        return [Error(f"SECAI_BIND is {settings.BIND!r}, which is no IP address.", id="secai.E001")]
    hosts = set(settings.ALLOWED_HOSTS) - {"localhost", "127.0.0.1", "[::1]"}
    if settings.BEHIND_TLS and hosts and "*" not in hosts:
        return []
    return [
        Error(
            f"SECAI_BIND={settings.BIND} lets other machines in, but "
            + (
                "SECAI_ALLOWED_HOSTS names no host."
                if settings.BEHIND_TLS
                else "nothing encrypts the connection."
            ),
            hint="Keep 127.0.0.1, or put a TLS proxy in front (see deploy/) and set SECAI_PUBLIC_URL=https://… and "
            "SECAI_ALLOWED_HOSTS.",
            id="secai.E002",
        )
    ]


@register("secai")
def check_home(**_kwargs: Any) -> list[CheckMessage]:
    """E003: nobody else may look into SECAI_HOME."""
    mode = stat.S_IMODE(os.stat(settings.SECAI_HOME).st_mode)
    if mode & 0o077:
        return [
            Error(
                f"{settings.SECAI_HOME} may be entered by others (mode {mode:o}).",
                hint=f"chmod 700 {settings.SECAI_HOME}",
                id="secai.E003",
            )
        ]
    return []


@register("secai")
def check_keys(**_kwargs: Any) -> list[CheckMessage]:
    """E004: the keys differ and are long enough."""
    if (
        min(len(settings.SECRET_KEY), len(settings.AUDIT_KEY)) < 43
        or settings.SECRET_KEY == settings.AUDIT_KEY
    ):
        return [
            Error(
                "SECAI_SECRET_KEY and SECAI_AUDIT_KEY must be two different secrets of at least 43 characters.",
                hint="Unset them: the box then makes its own below SECAI_HOME/secrets.",
                id="secai.E004",
            )
        ]
    return []


@register("secai")
def check_promotion(**_kwargs: Any) -> list[CheckMessage]:
    """E005: promotion is automatic or manual."""
    if settings.PROMOTION not in ("automatic", "manual"):
        return [
            Error(f"SECAI_PROMOTION is {settings.PROMOTION!r}; write automatic or manual.", id="secai.E005")
        ]
    return []


@register("secai")
def check_wildcard(**_kwargs: Any) -> list[CheckMessage]:
    """E006: a wildcard host would switch off the Host check."""
    if "*" in settings.ALLOWED_HOSTS or any(host.startswith(".") for host in settings.ALLOWED_HOSTS):
        return [Error("SECAI_ALLOWED_HOSTS has a wildcard; name each host.", id="secai.E006")]
    return []


@register("secai")
def check_echo(**_kwargs: Any) -> list[CheckMessage]:
    """W001: the echo engine is no model."""
    if settings.ENGINE == "echo":
        return [Caution("SECAI_ENGINE=echo repeats what it is told; it is for tests.", id="secai.W001")]
    return []
