"""Service tokens: how the services of this box know each other.

One file per caller below `SECAI_HOME/run/tokens`, made at the first start, mode 0600. A service that has no
readable token file is refused with 503 and the reason, never let in.
"""

import hmac
import re
from pathlib import Path

from django.conf import settings

from secai_site.kernel import secrets
from secai_site.kernel.env import ConfigurationError
from secai_site.kernel.errors import NotSignedIn, Unavailable

FORM = re.compile(r"secai-service_([a-z]{2,20})_([A-Za-z0-9_-]{43,})")


def _path(caller: str) -> Path:
    return Path(settings.TOKENS_DIR) / caller


def ensure(callers: tuple[str, ...]) -> None:
    """Make the tokens that do not exist yet."""
    for caller in callers:
        if not _path(caller).exists():
            secrets.create(_path(caller))


def token_of(caller: str) -> str:
    """The token that `caller` shows to its peers; raises `Unavailable` when its file is not usable."""
    try:
        return f"secai-service_{caller}_{secrets.read(_path(caller))}"
    except (OSError, ConfigurationError) as error:
        raise Unavailable(
            f"The service token of {caller} is not usable ({error}). Run: manage.py prepare",
            code="service.token_missing",
        ) from error


def caller_of(presented: str) -> str:
    """The service whose token this is; raises `NotSignedIn`, or `Unavailable` when it can't be checked."""
    match = FORM.fullmatch(presented)
    if match is None or match[1] not in settings.SERVICE_CALLERS:
        raise NotSignedIn("This is no service token.", code="auth.service_token")
    if not hmac.compare_digest(token_of(match[1]), presented):
        raise NotSignedIn("This service token is not good here.", code="auth.service_token")
    return match[1]
