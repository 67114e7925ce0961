"""Ending what a revoked caller still has open: within a second, in every process, without a broker.

Whoever keeps a connection or a stream open for a caller registers it here. One task per process asks the
database twice a second whether those callers are still good, and calls back for those that are not. It asks
nothing while nothing is open.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from channels.db import database_sync_to_async
from django.db import Error

from secai_site.kernel.auth.models import ApiKey, User
from secai_site.kernel.auth.principal import Principal

INTERVAL_S = 0.4


class Watch:
    """The callers with something open in this process."""

    def __init__(self) -> None:
        self._open: dict[object, tuple[Principal, Callable[[], None]]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def over(self, principal: Principal, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` in the event loop if `principal` loses its right while the block runs."""
        token = object()
        self._open[token] = (principal, end)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            yield
        finally:
            self._open.pop(token, None)

    async def _run(self) -> None:
        while self._open:
            await asyncio.sleep(INTERVAL_S)
            callers = {principal for principal, _ in self._open.values()}
            try:
                good = await database_sync_to_async(_still_good, thread_sensitive=False)(callers)
            except Error:
                continue  # asked again in a moment; this task must not end while something is open
            for token, (principal, end) in list(self._open.items()):
                if principal in callers and principal not in good:
                    self._open.pop(token, None)
                    end()


def _still_good(callers: set[Principal]) -> set[Principal]:
    return {caller for caller in callers if is_good(caller)}


def is_good(caller: Principal) -> bool:
    """Whether the credential that `caller` showed still stands."""
    from secai_site.kernel.http.websocket import session_user

    match caller.kind:
        case "session":
            user = session_user(caller.credential)
            return user is not None and user == caller.user and caller.scopes <= user.scopes
        case "key":
            key = ApiKey.objects.live().select_related("owner").filter(pk=int(caller.credential)).first()
            return key is not None and caller.scopes <= key.granted
        case _:
            return caller.user is None or User.objects.filter(pk=caller.user.pk, is_active=True).exists()


watch = Watch()
