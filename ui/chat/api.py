"""Chat and conversations over HTTP."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from secai_site.kernel import ports
from secai_site.kernel.auth.liveness import watch
from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.http.views import ServiceView
from secai_site.kernel.inference.protocol import Delta, Done, Engine, Failed, GenerationRequest, Sampling
from ui.chat import selectors, services, turns
from ui.chat.generation import WRITING, Generation, choose_model, generations, model_file
from ui.chat.serializers import ChatRequest, ConversationChanges, GenerateRequest, ListQuery, sampling_of


class ChatView(ServiceView):
    """Everything about one's own conversations."""

    read_scope = Scope.CHAT
    write_scope = Scope.CHAT


def wants_stream(request: Request, body: dict[str, Any]) -> bool:
    """Whether the answer goes out as server-sent events."""
    return bool(body.get("stream")) or "text/event-stream" in request.headers.get("Accept", "")


def event(data: dict[str, Any], name: str | None = None) -> str:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


def stream_of(events: AsyncIterator[str]) -> StreamingHttpResponse:
    """An event stream that no proxy buffers."""
    return StreamingHttpResponse(
        events,
        content_type="text/event-stream",
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


class Chat(ChatView):
    rate = "chat"
    forms = {"POST": ChatRequest}

    def post(self, request: Request) -> HttpResponseBase:
        """Ask; the answer comes complete, or as server-sent events. It goes on when the connection breaks."""
        body = _one_question(self.body())
        prepared = turns.ask(self.caller, body, conversation_id=body.get("conversation_id"))
        if wants_stream(request, body):
            generation = async_to_sync(_start)(prepared.request, self.caller)
            return stream_of(_chat_events(prepared.turn, generation))
        generation = async_to_sync(_start_and_wait)(prepared.request, self.caller)
        if generation.error is not None and not generation.pieces:
            raise generation.error
        return Response(_complete(prepared.turn, generation))


def _one_question(body: dict[str, Any]) -> dict[str, Any]:
    """`messages` as a history and a last question."""
    if history := body.pop("messages", None):
        return {**body, "text": history[-1]["content"], "history": history[:-1]}
    return {**body, "text": body.pop("message")}


async def _start(request: GenerationRequest, caller: Any) -> Generation:
    return generations.start(request, caller)


async def _start_and_wait(request: GenerationRequest, caller: Any) -> Generation:
    generation = generations.start(request, caller)
    async for _frame in generation.follow():
        pass
    return generation


def _complete(turn: services.Turn, generation: Generation) -> dict[str, Any]:
    final = generation.final or {}
    return {
        "conversation_id": str(turn.conversation.pk), "message_id": str(turn.answer.pk), "model": generation.model,
        "message": {"role": "assistant", "content": generation.content}, "finish_reason": final.get("finish_reason"),
        "usage": final.get("usage"), "timings": final.get("timings"),
    }  # fmt: skip


async def _chat_events(turn: services.Turn, generation: Generation) -> AsyncIterator[str]:
    async for frame in generation.follow():
        match frame["type"]:
            case "delta":
                yield event({"seq": frame["seq"], "text": frame["text"]})
            case "done":
                complete = _complete(turn, generation)
                complete["message"] = {"role": "assistant"}
                yield event(complete, "done")
            case "error":
                yield event({k: v for k, v in frame.items() if k not in ("type", "message_id")}, "error")


class Generate(ChatView):
    rate = "chat"
    forms = {"POST": GenerateRequest}

    def post(self, request: Request) -> HttpResponseBase:
        """Complete a text. Nothing is kept; a broken connection ends it."""
        body = self.body()
        model = choose_model(body.get("model") or "", WRITING)
        asked = GenerationRequest(
            id=f"generate:{uuid.uuid4()}",
            model=model_file(model),
            prompt=body["prompt"],
            sampling=Sampling(**{"max_tokens": 512, **sampling_of(body)}),
        )
        if wants_stream(request, body):
            return stream_of(_text_events(asked, self.caller))
        return Response(async_to_sync(_whole_text)(asked, self.caller))


@contextlib.contextmanager
def _while_allowed(asked: GenerationRequest, caller: Principal) -> Iterator[None]:
    """Cancel the generation when its caller loses the right to it."""
    tasks: list[asyncio.Task[bool]] = []
    loop = asyncio.get_running_loop()
    with watch.over(caller, lambda: tasks.append(loop.create_task(ports.get(Engine).cancel(asked.id)))):
        yield


async def _whole_text(asked: GenerationRequest, caller: Principal) -> dict[str, Any]:
    pieces: list[str] = []
    with _while_allowed(asked, caller):
        async for one in ports.get(Engine).generate(asked):
            match one:
                case Delta(text=text):
                    pieces.append(text)
                case Failed():
                    raise one.to_error()
                case Done():
                    return {"model": asked.model.name, "text": "".join(pieces), **_ending(one)}
    raise ServiceError("The engine ended without a word.", code="engine.down", status=503)


async def _text_events(asked: GenerationRequest, caller: Principal) -> AsyncIterator[str]:
    ended = False
    engine = ports.get(Engine)
    try:
        with _while_allowed(asked, caller):
            async for one in engine.generate(asked):
                match one:
                    case Delta(seq=seq, text=text):
                        yield event({"seq": seq, "text": text})
                    case Failed():
                        ended = True
                        yield event(one.to_error().body(), "error")
                    case Done():
                        ended = True
                        yield event({"model": asked.model.name, **_ending(one)}, "done")
    except ServiceError as error:
        ended = True
        yield event(error.body(), "error")
    finally:
        if not ended:
            await engine.cancel(asked.id)


def _ending(done: Done) -> dict[str, Any]:
    from dataclasses import asdict

    return {"finish_reason": done.finish_reason, "usage": asdict(done.usage), "timings": asdict(done.timings)}


class ConversationList(ChatView):
    query = ListQuery

    def get(self, request: Request) -> Response:
        """The caller's conversations, newest first: `?q=` searches, `?before=` turns the page."""
        asked = self.asked()
        rows, more = selectors.conversations_of(
            _person(self), query=asked.get("q", ""), folder=asked.get("folder"), before=asked.get("before"),
            limit=asked["limit"],
        )  # fmt: skip
        return Response({"conversations": [selectors.conversation_json(row) for row in rows], "more": more})


class ConversationDetail(ChatView):
    forms = {"PATCH": ConversationChanges}

    def get(self, request: Request, conversation_id: UUID) -> Response:
        """One conversation with its whole tree of messages."""
        found = services.own_conversation(_person(self), conversation_id)
        return Response(selectors.conversation_with_messages(found))

    def patch(self, request: Request, conversation_id: UUID) -> Response:
        """Rename, pin, file, set the system prompt or the message that is looked at."""
        found = services.own_conversation(_person(self), conversation_id)
        changed = services.change_conversation(
            conversation=found, changes=self.body(), actor=self.caller.name
        )
        return Response(selectors.conversation_json(changed))

    def delete(self, request: Request, conversation_id: UUID) -> Response:
        """Put it into the trash; it can be restored for 30 days."""
        found = services.own_conversation(_person(self), conversation_id)
        services.delete_conversation(conversation=found, actor=self.caller.name)
        return Response({"id": str(conversation_id), "status": "deleted", "restorable_days": 30})


class ConversationRestore(ChatView):
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Take it out of the trash."""
        self.body()
        found = services.own_conversation(_person(self), conversation_id, deleted=True)
        services.restore_conversation(conversation=found, actor=self.caller.name)
        return Response(selectors.conversation_json(found))


class ConversationExport(ChatView):
    def get(self, request: Request, conversation_id: UUID) -> HttpResponse:
        """Download it: `?as=json` (all branches) or `?as=markdown` (the one that is looked at)."""
        found = services.own_conversation(_person(self), conversation_id)
        if request.query_params.get("as") == "markdown":
            text, kind, ending = selectors.as_markdown(found), "text/markdown; charset=utf-8", "md"
        else:
            text = json.dumps(selectors.conversation_with_messages(found), ensure_ascii=False, indent=2)
            kind, ending = "application/json", "json"
        name = f'attachment; filename="conversation-{found.pk}.{ending}"'
        return HttpResponse(text, content_type=kind, headers={"Content-Disposition": name})


def _person(view: ServiceView) -> Any:
    if view.caller.user is None:
        raise ServiceError("A conversation belongs to a person.", code="chat.no_owner", status=403)
    return view.caller.user
