"""Answers being written: each runs for itself, whoever listens may come and go.

The engine numbers the pieces and remembers them for some minutes, so an answer survives a closed page, a lost
connection and a restart of this process alike; what has arrived is kept in the database every second.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

from channels.db import database_sync_to_async

from registry.contract import ModelIntegrityFailed, ModelRecord, Registry
from secai_site.kernel import ports
from secai_site.kernel.auth.liveness import watch
from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.errors import Conflict, NotFound, ServiceError
from secai_site.kernel.inference.errors import EngineDown, GenerationUnknown
from secai_site.kernel.inference.protocol import (
    Delta,
    Done,
    Engine,
    Event,
    Failed,
    GenerationRequest,
    ModelFile,
    Sampling,
    State,
)
from ui.chat import services
from ui.chat.models import RUNNING, Conversation, Message, MessageState
from ui.chat.tree import Node, path_to, prompt_of

log = logging.getLogger(__name__)

KEEP_EVERY_S = 1.0
WRITE_AGAIN_S = (0.5, 1, 2, 5, 10, *[30] * 20)
ENGINE_PATIENCE_S = 8.0
INTERRUPTED = "The answer was interrupted. What had arrived is kept; ask for it again when you like."

Frame = dict[str, Any]


def in_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run blocking work in a thread of its own, so that one person's wait is nobody else's."""
    threaded: Callable[..., Any] = database_sync_to_async(function, thread_sensitive=False)
    return threaded


class Generation:
    """One answer on its way: the pieces so far, its state, and a signal for those who follow it."""

    def __init__(self, message_id: UUID, model: str, kept: str = "") -> None:
        self.message_id = str(message_id)
        self.pk = message_id
        self.model = model
        self.pieces: list[str] = []
        self.kept = kept
        self.state: Frame = self._frame("state", state="queued", place=None, progress=None)
        self.final: Frame | None = None
        self.error: ServiceError | None = None
        self.written = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def content(self) -> str:
        """All text so far; never less than what was kept before this process picked the answer up."""
        text = "".join(self.pieces)
        return text if len(text) >= len(self.kept) else self.kept

    def take(self, event: Event) -> None:
        """Take over what the engine says."""
        match event:
            case Delta(seq=seq, text=text):
                if seq == len(self.pieces):
                    self.pieces.append(text)
            case State():
                self.state = self._frame(
                    "state", state=event.state, place=event.place, progress=event.progress
                )
            case Done():
                self.end(
                    "done", finish_reason=event.finish_reason, usage=asdict(event.usage),
                    timings=asdict(event.timings), model=self.model,
                )  # fmt: skip
                return
            case Failed():
                self.fail(event.to_error())
                return
        self._signal()

    def end(self, kind: str, **fields: Any) -> None:
        """Set the last frame."""
        self.final = self._frame(kind, **fields)
        self._signal()

    def fail(self, error: ServiceError) -> None:
        """End with an error; text that has arrived stays, as an interrupted answer."""
        self.error = error
        if self.content:
            self.end(
                "done",
                finish_reason="interrupted",
                usage=None,
                timings=None,
                model=self.model,
                error=INTERRUPTED,
                content=self.content,
            )
        else:
            self.end("error", **error.body())

    async def follow(self, after_seq: int = -1) -> AsyncIterator[Frame]:
        """The frames after piece `after_seq`, live until the last one."""
        position, told = after_seq + 1, None
        while True:
            changed = self._changed
            if self.state is not told and self.final is None:
                told = self.state
                yield told
            while position < len(self.pieces):
                yield self._frame("delta", seq=position, text=self.pieces[position])
                position += 1
            if self.final is not None:
                # written down first: who is told that it is done may build on it at once
                await self.written.wait()
                yield self.final
                return
            await changed.wait()

    def _frame(self, kind: str, **fields: Any) -> Frame:
        return {"type": kind, "message_id": self.message_id, **fields}

    def _signal(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Generations:
    """The answers being written in this process."""

    def __init__(self) -> None:
        self._running: dict[str, Generation] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, message_id: str) -> Generation | None:
        """The running answer with this id."""
        return self._running.get(message_id)

    def start(self, request: GenerationRequest, caller: Principal | None) -> Generation:
        """Begin an answer; it goes on whether or not anybody follows it."""
        generation = Generation(UUID(request.id), request.model.name)
        engine = ports.get(Engine)
        self._spawn(generation, engine.generate(request), caller)
        return generation

    def pick_up(self, message: Message) -> Generation:
        """Go on with an answer that this process did not start, from its first piece."""
        generation = Generation(message.pk, message.model, message.content)
        self._spawn(generation, self._patient_attach(str(message.pk)), None)
        return generation

    async def stop(self, message_id: str) -> None:
        """Stop an answer; returns when the engine has let go of it."""
        await ports.get(Engine).cancel(message_id)

    def _spawn(self, generation: Generation, events: AsyncIterator[Event], caller: Principal | None) -> None:
        self._running[generation.message_id] = generation
        task = asyncio.get_running_loop().create_task(self._run(generation, events, caller))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(
        self, generation: Generation, events: AsyncIterator[Event], caller: Principal | None
    ) -> None:
        keeper = asyncio.create_task(_keep(generation))
        try:
            if caller is None:
                await _drain(generation, events)
            else:
                with watch.over(caller, lambda: self._end_revoked(generation)):
                    await _drain(generation, events)
        finally:
            keeper.cancel()
            await _write_end(generation)
            self._running.pop(generation.message_id, None)

    def _end_revoked(self, generation: Generation) -> None:
        task = asyncio.get_running_loop().create_task(self.stop(generation.message_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _patient_attach(message_id: str) -> AsyncIterator[Event]:
        """Attach, waiting some seconds for an engine that is just starting."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ENGINE_PATIENCE_S
        while True:
            try:
                async for event in ports.get(Engine).attach(message_id):
                    yield event
                return
            except EngineDown:
                if loop.time() > deadline:
                    raise
                await asyncio.sleep(0.3)


async def _drain(generation: Generation, events: AsyncIterator[Event]) -> None:
    try:
        async for event in events:
            generation.take(event)
        if generation.final is None:
            generation.fail(EngineDown("The engine ended the answer without a word."))
    except ServiceError as error:
        generation.fail(error)
    except Exception:
        log.exception("generation %s", generation.message_id)
        generation.fail(ServiceError("Something went wrong here; see the log.", code="internal", status=500))


async def _keep(generation: Generation) -> None:
    kept = 0
    while True:
        await asyncio.sleep(KEEP_EVERY_S)
        if len(generation.pieces) > kept:
            kept = len(generation.pieces)
            try:
                await in_thread(services.keep_progress)(generation.pk, generation.content)
            except Exception:
                kept = 0
                log.warning("answer %s could not be kept; trying again", generation.message_id, exc_info=True)


async def _write_end(generation: Generation) -> None:
    """Write down how it ended, and let those who follow it know; patient with a full disk or a locked database.

    What never gets written stays "writing" in the database and is picked up at the next start.
    """
    state, fields = outcome_of(generation)
    for wait in WRITE_AGAIN_S:
        try:
            await in_thread(services.finish_answer)(generation.pk, state, generation.content, **fields)
        except Exception:
            log.exception("the end of answer %s could not be written", generation.message_id)
            if generation.final is not None:
                generation.final["saved"] = False
            generation.written.set()
            await asyncio.sleep(wait)
        else:
            generation.written.set()
            return


def outcome_of(generation: Generation) -> tuple[MessageState, dict[str, Any]]:
    """How an ended generation is written down."""
    final = generation.final or {}
    fields: dict[str, Any] = {"model": generation.model}
    if generation.error is not None:
        fields |= {"error": generation.error.message[:500], "error_code": generation.error.error_code}
        if generation.content or isinstance(generation.error, GenerationUnknown):
            return MessageState.INTERRUPTED, fields | {"finish_reason": "interrupted", "error": INTERRUPTED}
        return MessageState.FAILED, fields
    if final.get("type") != "done":
        return MessageState.INTERRUPTED, fields | {"finish_reason": "interrupted"}
    fields |= {name: final[name] for name in ("finish_reason", "usage", "timings")}
    cancelled = final["finish_reason"] == "cancelled"
    return (MessageState.CANCELLED if cancelled else MessageState.COMPLETE), fields


generations = Generations()


async def recover() -> int:
    """Pick up the answers that were being written when this process last ended; returns how many."""
    pending = await in_thread(lambda: list(Message.objects.filter(state__in=RUNNING)))()
    for message in pending:
        generations.pick_up(message)
    return len(pending)


# --- from a turn to a request ------------------------------------------------------------------------


# What a model must be for, to answer a chat, to go on with a text, to be loaded at all.
CHATTING: Final = frozenset({"chat"})
WRITING: Final = frozenset({"chat", "completion"})
INSTEAD: Final = {
    "completion": "it goes on with a text but holds no conversation. Use another model, or POST /api/generate",
    "embedding": "it reads texts into vectors for searching and cannot write. Choose a model that chats",
    "pictures": "it draws pictures and cannot write. Choose a model that chats",
    "weights": "it is a part for other models, and this box's engine cannot run it. Choose another model",
}


def choose_model(name: str, purposes: frozenset[str] = CHATTING) -> ModelRecord:
    """The model to answer with: the named one, else the first of a fitting purpose, those that chat before others.

    Raises `NotFound` for an unknown name, `ModelIntegrityFailed` for one whose file changed, `Conflict` for one of
    another purpose, or when there is none at all.
    """
    registry = ports.get(Registry)
    if name:
        model = registry.model(name)
        if model["status"] != "promoted":
            raise ModelIntegrityFailed(
                f"The file of “{name}” is not the one that was promoted, so it was taken out of use. Remove it on "
                "the Models page and import it again.",
                integrity_failed=True,
            )
        _require_purpose(model, purposes)
        return model
    usable = [
        model for model in registry.models() if model["status"] == "promoted" and model["purpose"] in purposes
    ]
    usable.sort(key=lambda model: model["purpose"] != "chat")
    if not usable:
        raise Conflict(
            "There is no model to answer with. Import one on the Models page; if one is being checked there, wait "
            "until it has passed.",
            code="chat.no_model",
        )
    return usable[0]


def _require_purpose(model: ModelRecord, purposes: frozenset[str]) -> None:
    if model["purpose"] not in purposes:
        why = INSTEAD.get(model["purpose"], "it is for something else. Choose another model")
        raise Conflict(f"“{model['name']}” cannot be used for this: {why}.", code="model.purpose")


def model_file(model: ModelRecord) -> ModelFile:
    """What the engine needs to know of a model."""
    parts = tuple(file["path"] for file in model["files"])
    return ModelFile(model["name"], model["path"], model["sha256"], parts)


def nodes_of(conversation: Conversation) -> list[Node]:
    """The conversation's messages as the tree sees them."""
    rows = conversation.messages.values_list("pk", "parent_id", "role", "content")
    return [Node(*row) for row in rows]


def request_of(turn: services.Turn, model: ModelRecord, parameters: Mapping[str, Any]) -> GenerationRequest:
    """The engine's request for a turn with a model that chats."""
    if turn.answer.parent_id is None:
        raise NotFound("The question of this answer is gone.", code="chat.not_found")
    path = path_to(turn.answer.parent_id, nodes_of(turn.conversation))
    return GenerationRequest(
        id=str(turn.answer.pk),
        model=model_file(model),
        messages=prompt_of(path, turn.conversation.system),
        sampling=Sampling(**parameters),
    )
