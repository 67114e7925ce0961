"""The models page, live."""

import asyncio
import contextlib
import json
import logging
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from secai_site.kernel.auth.liveness import watch
from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.http.errors import as_service_error
from secai_site.kernel.http.websocket import PRINCIPAL_KEY
from ui.catalog.listing import all_models

log = logging.getLogger(__name__)

INTERVAL_S = 0.7
BROKEN = 1011  # the server's fault (RFC 6455, 7.4.1); the browser connects again


class ModelsConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """ws /ws/models: the list of models on connect and whenever it changes."""

    async def connect(self) -> None:
        caller: Principal = self.scope[PRINCIPAL_KEY]
        await self.accept()
        if not caller.may(Scope.READ):
            await self.close(code=4403)
            return
        self.task = asyncio.get_running_loop().create_task(self._run(caller))

    async def disconnect(self, code: int) -> None:
        if hasattr(self, "task"):
            self.task.cancel()

    async def _run(self, caller: Principal) -> None:
        with watch.over(caller, self._end), contextlib.suppress(asyncio.CancelledError):
            try:
                await self._tell()
            except Exception:
                log.exception("the models page cannot be kept up to date")
                await self.close(code=BROKEN)

    async def _tell(self) -> None:
        told = ""
        while True:
            frame = json.dumps(
                await database_sync_to_async(_frame, thread_sensitive=False)(), separators=(",", ":")
            )
            if frame != told:
                told = frame
                await self.send(text_data=frame)
            await asyncio.sleep(INTERVAL_S)

    def _end(self) -> None:
        asyncio.get_running_loop().create_task(self.close(code=4401))


def _frame() -> dict[str, Any]:
    try:
        models = all_models()
    except Exception as error:
        known = as_service_error(error)
        if known is None:
            raise
        return {"type": "error", **known.body()}
    for model in models:
        # free memory changes all the time; the page asks for it when it opens
        if model["fit"]:
            model["fit"] = {**model["fit"], "free_bytes": model["fit"]["free_bytes"] // 2**28 * 2**28}
    return {"type": "models", "models": models}
