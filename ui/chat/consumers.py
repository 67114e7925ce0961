"""The browser's chat: one websocket, many answers to follow."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer

from secai_site.kernel.auth.liveness import watch
from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.errors import InvalidRequest, NotAllowed, ServiceError
from secai_site.kernel.http.errors import as_service_error
from secai_site.kernel.http.parsers import parse_json
from secai_site.kernel.http.websocket import PRINCIPAL_KEY
from secai_site.kernel.limits.rates import count
from ui.chat import selectors, services, turns
from ui.chat.generation import generations, in_thread
from ui.chat.models import MessageState
from ui.chat.serializers import FRAMES

FOLLOW_LIMIT = 16


class ChatConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """ws /ws/chat/{conversation_id or "new"}"""

    async def connect(self) -> None:
        self.caller: Principal = self.scope[PRINCIPAL_KEY]
        self.following: dict[str, asyncio.Task[None]] = {}
        self.conversation_id: str | None = None
        named = self.scope["url_route"]["kwargs"]["conversation"]
        try:
            if not self.caller.may(Scope.CHAT) or self.caller.user is None:
                raise NotAllowed("Chatting needs the permission “chat”.", code="auth.scope")
            if named != "new":
                found = await in_thread(services.own_conversation)(self.caller.user, named)
                self.conversation_id = str(found.pk)
        except ServiceError as error:
            await self.accept()
            await self._tell_error(error)
            await self.close(code=4000 + error.http_status)
            return
        await self.accept()
        self.watched = watch.over(self.caller, self._end_revoked)
        self.watched.__enter__()

    async def disconnect(self, code: int) -> None:
        for task in self.following.values():
            task.cancel()
        if hasattr(self, "watched"):
            self.watched.__exit__(None, None, None)

    def _end_revoked(self) -> None:
        asyncio.get_running_loop().create_task(self.close(code=4401))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message_id: str | None = None
        try:
            kind, body = self._parse(text_data)
            message_id = str(body["message_id"]) if "message_id" in body else None
            await getattr(self, f"_on_{kind}")(body)
        except Exception as error:
            known = as_service_error(error)
            if known is None:
                raise
            await self._tell_error(known, message_id)

    def _parse(self, text: str | None) -> tuple[str, dict[str, Any]]:
        raw = parse_json(text.encode("utf-8", "surrogatepass")) if text is not None else None
        kind = raw.get("type") if isinstance(raw, dict) else None
        form = FRAMES.get(kind) if isinstance(kind, str) else None
        if form is None or not isinstance(kind, str):
            raise InvalidRequest(
                f"Send a JSON object whose type is one of: {', '.join(FRAMES)}.", code="ws.frame"
            )
        checked = form(data=raw)
        checked.is_valid(raise_exception=True)
        return kind, checked.validated_data

    # --- what the browser asks for ---

    async def _on_send(self, body: dict[str, Any]) -> None:
        prepare = partial(turns.ask, conversation_id=self.conversation_id)
        await self._begin(await self._prepared(prepare, body))

    async def _on_regenerate(self, body: dict[str, Any]) -> None:
        await self._begin(await self._prepared(turns.again, body))

    async def _on_edit(self, body: dict[str, Any]) -> None:
        await self._begin(await self._prepared(turns.edit, body))

    async def _on_stop(self, body: dict[str, Any]) -> None:
        message = await in_thread(services.own_message)(self.caller.user, body["message_id"])
        await generations.stop(str(message.pk))

    async def _on_resume(self, body: dict[str, Any]) -> None:
        message = await in_thread(services.own_message)(self.caller.user, body["message_id"])
        generation = generations.find(str(message.pk))
        if generation is None and message.is_running:
            generation = generations.pick_up(message)
        if generation is not None:
            self._follow(generation, body["seq"])
            return
        await self._tell(_settled(message, body["seq"]))

    async def _prepared(self, prepare: Callable[..., turns.Prepared], body: dict[str, Any]) -> turns.Prepared:
        await in_thread(count)(None, rate="chat", key=self.caller.rate_key)
        prepared: turns.Prepared = await in_thread(prepare)(self.caller, body)
        return prepared

    # --- what it is told ---

    async def _begin(self, prepared: turns.Prepared) -> None:
        turn = prepared.turn
        self.conversation_id = str(turn.conversation.pk)
        generation = generations.start(prepared.request, self.caller)
        await self._tell(
            {
                "type": "started",
                "conversation_id": self.conversation_id,
                "message_id": str(turn.answer.pk),
                "title": turn.conversation.title,
                "user_message": selectors.message_json(turn.question) if turn.question else None,
                "message": selectors.message_json(turn.answer),
            }
        )
        self._follow(generation, -1)

    def _follow(self, generation: Any, after_seq: int) -> None:
        previous = self.following.pop(generation.message_id, None)
        if previous is not None:
            previous.cancel()
        if len(self.following) >= FOLLOW_LIMIT:
            raise InvalidRequest(f"At most {FOLLOW_LIMIT} answers are followed at once.", code="ws.follow")
        task = asyncio.get_running_loop().create_task(self._forward(generation, after_seq))
        self.following[generation.message_id] = task
        task.add_done_callback(lambda ended: self._followed(generation.message_id, ended))

    def _followed(self, message_id: str, task: asyncio.Task[None]) -> None:
        """Forget a follower that has ended, and not the one that took its place."""
        if self.following.get(message_id) is task:
            del self.following[message_id]

    async def _forward(self, generation: Any, after_seq: int) -> None:
        async for frame in generation.follow(after_seq):
            await self._tell(frame)

    async def _tell(self, frame: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps(frame, ensure_ascii=False, separators=(",", ":")))

    async def _tell_error(self, error: ServiceError, message_id: str | None = None) -> None:
        await self._tell({"type": "error", "message_id": message_id, **error.body()})


def _settled(message: Any, seq: int) -> dict[str, Any]:
    """The end of an answer that is no longer being written; its text is in the conversation."""
    frame = {"message_id": str(message.pk), "model": message.model}
    if message.state == MessageState.FAILED:
        return {"type": "error", **frame, "error": message.error, "code": message.error_code}
    return {
        "type": "done", **frame, "finish_reason": message.finish_reason or "interrupted", "usage": message.usage,
        "timings": message.timings, "content": message.content,
    }  # fmt: skip
