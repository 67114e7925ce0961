"""The browser's chat: frames in order, resumable, stoppable, and closed to everybody else."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings as django_settings
from django.db import close_old_connections
from django.test import Client

from secai_site.asgi import application_for
from secai_site.kernel.auth import keys, people
from secai_site.kernel.auth.models import ApiKey, Session, User
from secai_site.kernel.inference.echo import EchoEngine
from secai_site.kernel.inference.errors import ContextTooLong
from secai_site.kernel.inference.protocol import Delta, Failed
from tests.support.builders import conversation, promoted
from tests.support.cast import Cast, key_of
from ui.chat.generation import Generation, generations, outcome_of
from ui.chat.models import Conversation, Message

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = "http://localhost:8480"
PATIENCE_S = 5


class Socket(WebsocketCommunicator):  # type: ignore[misc]
    """A connection to the ui listener's websockets."""

    def __init__(self, path: str = "/ws/chat/new", *, listener: str = "ui", **headers: str) -> None:
        named = {"host": "localhost:8480", **headers}
        raw = [(name.encode(), value.encode("latin1")) for name, value in named.items()]
        super().__init__(application_for(listener), path, headers=raw)

    async def tell(self, **frame: Any) -> None:
        """Send a frame."""
        await self.send_to(text_data=json.dumps(frame))

    async def hear(self) -> dict[str, Any]:
        """The next frame."""
        frame: dict[str, Any] = json.loads(await self.receive_from(PATIENCE_S))
        return frame

    async def hear_until(self, *kinds: str) -> list[dict[str, Any]]:
        """Frames up to the first of these kinds."""
        frames = [await self.hear()]
        while frames[-1]["type"] not in kinds:
            frames.append(await self.hear())
        return frames

    async def closed_with(self) -> int:
        """The code that the server closes with, whatever it says before."""
        while True:
            said = await self.receive_output(PATIENCE_S)
            if said["type"] == "websocket.close":
                code: int = said.get("code") or 1000
                return code


@contextlib.asynccontextmanager
async def opened(path: str = "/ws/chat/new", **headers: str) -> AsyncIterator[Socket]:
    """An accepted connection, closed at the end."""
    socket = Socket(path, **headers)
    accepted, _ = await socket.connect()
    assert accepted
    yield socket
    await socket.disconnect()


def cookie_of(user: User) -> str:
    """The cookie of a signed-in browser."""
    client = Client()
    client.force_login(user)
    return (
        f"{django_settings.SESSION_COOKIE_NAME}={client.cookies[django_settings.SESSION_COOKIE_NAME].value}"
    )


@pytest.fixture(autouse=True)
def threads_close_their_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels' tester keeps them open, for tests inside one transaction; these are not."""
    monkeypatch.setattr("channels.testing.application.no_op", close_old_connections)


@pytest.fixture
def engine_behind(cast: Cast, peers: EchoEngine) -> EchoEngine:
    """A model and its engine."""
    promoted()
    return peers


@pytest.fixture
def mia(cast: Cast, engine_behind: EchoEngine) -> dict[str, str]:
    """The headers of the member's browser."""
    return {"cookie": cookie_of(cast.member), "origin": ORIGIN}


@pytest.fixture
def sam(cast: Cast, engine_behind: EchoEngine) -> dict[str, str]:
    """The headers of the stranger's program."""
    return {"authorization": f"Bearer {key_of(cast.stranger, 'chat')}"}


def text_of(frames: list[dict[str, Any]], message_id: str | None = None) -> str:
    """The pieces put together; their numbers must be gapless."""
    deltas = [f for f in frames if f["type"] == "delta" and message_id in (None, f["message_id"])]
    first = deltas[0]["seq"] if deltas else 0
    assert [f["seq"] for f in deltas] == list(range(first, first + len(deltas)))
    return "".join(f["text"] for f in deltas)


async def settle(condition: Callable[[], bool]) -> None:
    """Wait until something in this process holds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def written(message_id: str) -> Message:
    """The answer once its end is in the database."""
    await settle(lambda: generations.find(message_id) is None)
    return await Message.objects.aget(pk=message_id)


# --- frames ------------------------------------------------------------------------------------------


async def test_a_question_is_answered_piece_by_piece(mia: dict[str, str]) -> None:
    async with opened(**mia) as socket:
        await socket.tell(type="send", text="one two three")
        frames = await socket.hear_until("done")
    started = frames[0]
    assert started["type"] == "started"
    assert started["user_message"]["content"] == "one two three"
    assert text_of(frames) == "one two three"
    assert next(f["seq"] for f in frames if f["type"] == "delta") == 0
    assert {f["type"] for f in frames} <= {"started", "state", "delta", "done"}
    done = frames[-1]
    assert (done["message_id"], done["finish_reason"], done["model"]) == (
        started["message_id"],
        "stop",
        "tiny",
    )
    assert done["usage"]["completion_tokens"] == 3
    assert (await written(done["message_id"])).content == "one two three"


async def test_a_second_question_goes_below_the_first_answer(
    mia: dict[str, str], engine_behind: EchoEngine
) -> None:
    async with opened(**mia) as socket:
        for text in ("one", "two"):
            await socket.tell(type="send", text=text)
            await written((await socket.hear_until("done"))[-1]["message_id"])
    assert [m.content for m in engine_behind.requests[-1].messages or ()] == ["one", "one", "two"]
    assert await Conversation.objects.acount() == 1


async def test_an_answer_goes_on_without_anybody_listening(
    mia: dict[str, str], engine_behind: EchoEngine
) -> None:
    engine_behind.delay = 0.01
    async with opened(**mia) as socket:
        await socket.tell(type="send", text="a b c d e f g h")
        started = await socket.hear()
    message = await written(started["message_id"])
    assert (message.state, message.content) == ("complete", "a b c d e f g h")


async def test_a_lost_connection_resumes_where_it_was(mia: dict[str, str], engine_behind: EchoEngine) -> None:
    engine_behind.delay = 0.01
    words = " ".join(map(str, range(40)))
    async with opened(**mia) as socket:
        await socket.tell(type="send", text=words)
        started = await socket.hear()
        first = await socket.hear_until("delta")
        while first[-1]["seq"] < 5:
            first += await socket.hear_until("delta")
    async with opened(f"/ws/chat/{started['conversation_id']}", **mia) as socket:
        await socket.tell(type="resume", message_id=started["message_id"], seq=first[-1]["seq"])
        rest = await socket.hear_until("done")
    assert text_of(first + rest) == words


async def test_a_second_device_sees_the_answer_from_its_beginning(
    mia: dict[str, str], engine_behind: EchoEngine
) -> None:
    engine_behind.delay = 0.01
    words = " ".join(map(str, range(30)))
    async with opened(**mia) as one, opened(**mia) as two:
        await one.tell(type="send", text=words)
        started = await one.hear()
        await two.tell(type="resume", message_id=started["message_id"], seq=-1)
        heard_one, heard_two = await asyncio.gather(one.hear_until("done"), two.hear_until("done"))
    assert text_of(heard_one) == text_of(heard_two) == words


async def test_resuming_again_and_again_repeats_nothing(
    mia: dict[str, str], engine_behind: EchoEngine
) -> None:
    engine_behind.delay = 0.02
    words = " ".join(map(str, range(30)))
    async with opened(**mia) as socket:
        await socket.tell(type="send", text=words)
        started = await socket.hear()
        for _ in range(4):
            await socket.tell(type="resume", message_id=started["message_id"], seq=10**6)
        await socket.hear_until("done")
        assert await socket.receive_nothing(0.2)


async def test_resuming_what_has_ended_gives_its_end(mia: dict[str, str], cast: Cast) -> None:
    talk = await sync_to_async(conversation)(cast.member, "question", "answer")
    async with opened(**mia) as socket:
        await socket.tell(type="resume", message_id=str(talk.active_leaf), seq=-1)
        end = await socket.hear()
    assert (end["type"], end["content"], end["message_id"]) == ("done", "answer", str(talk.active_leaf))


async def test_an_answer_of_an_earlier_process_is_picked_up(mia: dict[str, str], cast: Cast) -> None:
    talk = await sync_to_async(conversation)(cast.member, "question", "beginn")
    await Message.objects.filter(pk=str(talk.active_leaf)).aupdate(state="writing")
    async with opened(**mia) as socket:
        await socket.tell(type="resume", message_id=str(talk.active_leaf), seq=-1)
        end = (await socket.hear_until("done", "error"))[-1]
    assert (end["type"], end["finish_reason"], end["content"]) == ("done", "interrupted", "beginn")
    message = await written(str(talk.active_leaf))
    assert (message.state, message.content) == ("interrupted", "beginn")


async def test_an_answer_half_replayed_loses_nothing_of_what_was_kept(
    mia: dict[str, str], cast: Cast, engine_behind: EchoEngine
) -> None:
    talk = await sync_to_async(conversation)(cast.member, "question", "one two three four")
    message = await Message.objects.aget(pk=str(talk.active_leaf))
    await Message.objects.filter(pk=message.pk).aupdate(state="writing")
    generation = Generation(message.pk, "tiny", message.content)
    generation.take(Delta(0, "one"))
    assert generation.content == "one two three four"
    generation.take(Failed("engine.down", "gone", 503))
    assert outcome_of(generation)[0] == "interrupted"
    for seq, text in enumerate((" two", " three", " four", " five"), start=1):
        generation.take(Delta(seq, text))
    assert generation.content == "one two three four five"


async def test_stopping_ends_the_engine_and_keeps_the_text(
    mia: dict[str, str], engine_behind: EchoEngine
) -> None:
    engine_behind.delay = 0.02
    async with opened(**mia) as socket:
        await socket.tell(type="send", text="w " * 200)
        started = await socket.hear()
        await socket.hear_until("delta")
        await socket.tell(type="stop", message_id=started["message_id"])
        done = (await socket.hear_until("done"))[-1]
    assert done["finish_reason"] == "cancelled"
    assert (await engine_behind.status()).active == 0
    message = await written(started["message_id"])
    assert message.state == "cancelled"
    assert 0 < len(message.content) < 400


async def test_an_answer_is_generated_again_beside_the_first(
    mia: dict[str, str], engine_behind: EchoEngine
) -> None:
    async with opened(**mia) as socket:
        await socket.tell(type="send", text="hello")
        first = await written((await socket.hear_until("done"))[-1]["message_id"])
        await socket.tell(type="regenerate", message_id=str(first.pk))
        frames = await socket.hear_until("done")
    again = await written(frames[-1]["message_id"])
    assert frames[0]["user_message"] is None
    assert (again.parent_id, again.content) == (first.parent_id, "hello")
    assert again.pk != first.pk
    talk = await Conversation.objects.aget()
    assert talk.active_leaf == again.pk


async def test_an_edited_question_is_a_branch(mia: dict[str, str], engine_behind: EchoEngine) -> None:
    async with opened(**mia) as socket:
        await socket.tell(type="send", text="one")
        await written((await socket.hear_until("done"))[-1]["message_id"])
        await socket.tell(type="send", text="two")
        second = await socket.hear_until("done")
        await written(second[-1]["message_id"])
        await socket.tell(type="edit", message_id=second[0]["user_message"]["id"], text="deux")
        branch = await socket.hear_until("done")
        await written(branch[-1]["message_id"])
        await socket.tell(type="send", text="root", parent=None)
        await written((await socket.hear_until("done"))[-1]["message_id"])
    asked = [[m.content for m in request.messages or ()] for request in engine_behind.requests]
    assert asked == [["one"], ["one", "one", "two"], ["one", "one", "deux"], ["root"]]
    assert await Message.objects.filter(role="user").acount() == 4


async def test_only_answers_are_generated_again_and_only_questions_edited(
    mia: dict[str, str], cast: Cast
) -> None:
    talk = await sync_to_async(conversation)(cast.member, "question", "answer")
    question = await Message.objects.aget(role="user")
    async with opened(**mia) as socket:
        await socket.tell(type="regenerate", message_id=str(question.pk))
        assert (await socket.hear())["code"] == "chat.not_an_answer"
        await socket.tell(type="edit", message_id=str(talk.active_leaf), text="x")
        assert (await socket.hear())["code"] == "chat.not_a_question"
    assert await Message.objects.acount() == 2


async def test_one_waits_for_the_answer_before(mia: dict[str, str], engine_behind: EchoEngine) -> None:
    engine_behind.delay = 0.05
    async with opened(**mia) as socket:
        await socket.tell(type="send", text="w " * 100)
        started = await socket.hear()
        for frame in (
            {"type": "send", "text": "next"},
            {"type": "regenerate", "message_id": started["message_id"]},
        ):
            await socket.tell(**frame)
            refusal = (await socket.hear_until("error"))[-1]
            assert refusal["code"] == "chat.busy"
        await socket.tell(type="stop", message_id=started["message_id"])
        await socket.hear_until("done")
    await written(started["message_id"])
    assert await Message.objects.acount() == 2


# --- when it goes wrong ------------------------------------------------------------------------------

MALFORMED: list[Any] = [
    "x", "[]", "1", "null", "{}", '{"type": 1}', '{"type": "unknown"}', '{"type": ["send"]}', '{"type": {}}',
    '{"type": "__init__"}', '{"type": "send"}', '{"type": "send", "text": ""}', '{"type": "send", "text": 1}',
    '{"type": "send", "text": "a", "x": 1}', '{"type": "send", "text": "a", "text": "b"}',
    '{"type": "send", "text": "a", "parent": 7}', '{"type": "send", "text": "a", "temperature": NaN}',
    '{"type": "send", "text": "a", "temperature": 1e999}', '{"type": "send", "text": "\\ud800"}',
    '{"type": "send", "text": "a\\u0000"}', '{"type": "stop"}', '{"type": "stop", "message_id": "x"}',
    '{"type": "resume", "message_id": "00000000-0000-0000-0000-000000000000"}',
    '{"type": "resume", "message_id": "00000000-0000-0000-0000-000000000000", "seq": -2}',
    '{"type": "resume", "message_id": "00000000-0000-0000-0000-000000000000", "seq": "0"}',
    '{"type": "send", "text": "' + "x" * 200_001 + '"}', "[" * 40, b"\x00\x01",
]  # fmt: skip


async def test_malformed_frames_are_refused_and_the_connection_stays(
    mia: dict[str, str], engine_behind: EchoEngine
) -> None:
    async with opened(**mia) as socket:
        for raw in MALFORMED:
            if isinstance(raw, bytes):
                await socket.send_to(bytes_data=raw)
            else:
                await socket.send_to(text_data=raw)
            answer = await socket.hear()
            assert answer["type"] == "error", raw
            assert answer["code"].startswith(("ws.", "json.", "request.")), (raw, answer)
        assert await Message.objects.acount() == 0
        await socket.tell(type="send", text="still here")
        done = (await socket.hear_until("done"))[-1]
    await written(done["message_id"])


async def test_without_a_model_one_is_told(cast: Cast, peers: EchoEngine) -> None:
    async with opened(cookie=await sync_to_async(cookie_of)(cast.member), origin=ORIGIN) as socket:
        await socket.tell(type="send", text="hello")
        assert (await socket.hear())["code"] == "chat.no_model"
    assert await Conversation.objects.acount() == 0


async def test_an_engine_that_dies_in_mid_answer_interrupts_it(
    mia: dict[str, str], engine_behind: EchoEngine
) -> None:
    engine_behind.die_after = 2
    async with opened(**mia) as socket:
        await socket.tell(type="send", text="one two three four")
        frames = await socket.hear_until("done")
        assert (text_of(frames), frames[-1]["finish_reason"]) == ("one two", "interrupted")
        message = await written(frames[-1]["message_id"])
        assert (message.state, message.content, message.error_code) == (
            "interrupted",
            "one two",
            "engine.down",
        )
        engine_behind.dead, engine_behind.die_after = False, None
        await socket.tell(type="send", text="next")
        assert text_of(await socket.hear_until("done")) == "next"
    await settle(lambda: not generations._running)


async def test_a_refusal_of_the_engine_comes_as_an_error(
    mia: dict[str, str], engine_behind: EchoEngine
) -> None:
    engine_behind.refuse = ContextTooLong("Too long.")
    async with opened(**mia) as socket:
        await socket.tell(type="send", text="hello")
        frames = await socket.hear_until("error")
    assert (frames[-1]["code"], frames[-1]["message_id"]) == ("context.too_long", frames[0]["message_id"])
    message = await written(frames[0]["message_id"])
    assert (message.state, message.error) == ("failed", "Too long.")


async def test_questions_are_counted(mia: dict[str, str], settings: Any) -> None:
    settings.RATES = settings.RATES | {"chat": "2/m"}
    async with opened(**mia) as socket:
        for text in ("one", "two"):
            await socket.tell(type="send", text=text)
            await written((await socket.hear_until("done"))[-1]["message_id"])
        await socket.tell(type="send", text="three")
        assert (await socket.hear())["code"] == "rate.limited"
    assert await Message.objects.acount() == 4


# --- who may -----------------------------------------------------------------------------------------


async def test_a_stranger_finds_no_conversation(sam: dict[str, str], cast: Cast) -> None:
    talk = await sync_to_async(conversation)(cast.member, "question", "answer")
    for pk in (talk.pk, uuid.uuid4()):
        socket = Socket(f"/ws/chat/{pk}", **sam)
        await socket.connect()
        assert (await socket.hear())["code"] == "chat.not_found"
        assert await socket.closed_with() == 4404


async def test_a_stranger_finds_no_message_in_any_frame(
    mia: dict[str, str], sam: dict[str, str], engine_behind: EchoEngine
) -> None:
    async with opened(**mia) as mine, opened(**sam) as theirs:
        await theirs.tell(type="send", text="hello")
        await written((await theirs.hear_until("done"))[-1]["message_id"])
        engine_behind.delay = 0.05
        await mine.tell(type="send", text="a secret " * 20)
        started = await mine.hear()
        answer, question = started["message_id"], started["user_message"]["id"]
        for frame in (
            {"type": "resume", "message_id": answer, "seq": -1}, {"type": "stop", "message_id": answer},
            {"type": "regenerate", "message_id": answer}, {"type": "edit", "message_id": question, "text": "x"},
        ):  # fmt: skip
            await theirs.tell(**frame)
            assert (await theirs.hear())["code"] == "chat.not_found", frame
        await theirs.tell(type="send", text="x", parent=question)
        assert (await theirs.hear())["code"] == "chat.parent"
        assert (await engine_behind.status()).active == 1
        await mine.tell(type="stop", message_id=answer)
        await mine.hear_until("done")
    await written(answer)
    assert await Message.objects.acount() == 4


async def refusal(path: str = "/ws/chat/new", **headers: str) -> int:
    """The code with which a handshake is turned away."""
    socket = Socket(path, **headers)
    connected, code = await socket.connect()
    if not connected:
        return int(code or 0)
    closing: int = await socket.closed_with()
    return closing


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://localhost:8470", "https://localhost:8480", "http://localhost", "http://["],
)  # fmt: skip
async def test_a_foreign_origin_is_refused(mia: dict[str, str], origin: str) -> None:
    assert await refusal(**(mia | {"origin": origin})) == 4403


async def test_a_cookie_without_an_origin_is_refused(mia: dict[str, str]) -> None:
    assert await refusal(cookie=mia["cookie"]) == 4403


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8480", "", "[::1", "127.0.0.1.evil:8480"]
)
async def test_a_foreign_host_is_refused(mia: dict[str, str], host: str) -> None:
    assert await refusal(**(mia | {"host": host, "origin": f"http://{host}"})) == 4400


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": ORIGIN}, {"cookie": "secai_session=x", "origin": ORIGIN}, {"cookie": ";;=", "origin": ORIGIN},
     {"authorization": "Bearer x"}, {"authorization": ""}, {"authorization": "Bearer secai_abcdefgh_" + "x" * 43}],
)  # fmt: skip
async def test_without_good_credentials_one_stays_out(
    headers: dict[str, str], engine_behind: EchoEngine
) -> None:
    assert await refusal(**headers) == 4401
    assert await refusal("/ws/models", **headers) == 4401


async def test_a_key_without_the_scope_stays_out(cast: Cast, engine_behind: EchoEngine) -> None:
    key = await sync_to_async(key_of)(cast.member, "read")
    assert await refusal(authorization=f"Bearer {key}") == 4403
    other = await sync_to_async(key_of)(cast.member, "chat")
    assert await refusal("/ws/models", authorization=f"Bearer {other}") == 4403


@pytest.mark.parametrize(
    "path", ["/", "/ws", "/ws/chat/", "/ws/chat/x", "/ws/chat/../models", "/ws/models/", "/health"]
)
async def test_other_addresses_have_no_websocket(mia: dict[str, str], path: str) -> None:
    assert await refusal(path, **mia) == 4404


async def test_other_listeners_have_no_websocket(mia: dict[str, str]) -> None:
    socket = Socket(listener="registry", **mia)
    assert await socket.connect() == (False, 4404)


# --- losing the right --------------------------------------------------------------------------------


def revoke(cast: Cast) -> None:
    keys.revoke_key(key=ApiKey.objects.get(), actor="test")


def expire(cast: Cast) -> None:
    from django.utils import timezone

    ApiKey.objects.update(expires_at=timezone.now())


def switch_off(cast: Cast) -> None:
    User.objects.filter(pk=cast.member.pk).update(is_active=False)


def sign_out(cast: Cast) -> None:
    people.end_session(session=Session.objects.get(user=cast.member), actor="test")


def change_password(cast: Cast) -> None:
    cast.member.set_password("another long password")
    cast.member.save()


@pytest.mark.parametrize("path", ["/ws/chat/new", "/ws/models"])
@pytest.mark.parametrize(
    "how", [revoke, expire, switch_off, sign_out, change_password], ids=lambda f: f.__name__
)
async def test_who_loses_the_right_is_cut_off_within_a_second(
    cast: Cast, mia: dict[str, str], engine_behind: EchoEngine, how: Callable[[Cast], None], path: str
) -> None:
    headers = mia
    if how in (revoke, expire):
        key = await sync_to_async(key_of)(cast.member, "chat", "read")
        headers = {"authorization": f"Bearer {key}"}
    engine_behind.delay = 0.05
    socket = Socket(path, **headers)
    assert (await socket.connect())[0]
    if path == "/ws/chat/new":
        await socket.tell(type="send", text="w " * 200)
        await socket.hear_until("delta")
    await sync_to_async(how)(cast)
    assert await asyncio.wait_for(socket.closed_with(), 1) == 4401
    await settle(lambda: not generations._running)
    assert (await engine_behind.status()).active == 0
    await socket.disconnect()


# --- the models page ---------------------------------------------------------------------------------


async def test_the_models_page_hears_of_changes(cast: Cast, mia: dict[str, str]) -> None:
    async with opened("/ws/models", **mia) as socket:
        first = await socket.hear()
        assert [model["name"] for model in first["models"]] == ["tiny"]
        await sync_to_async(promoted)("second")
        second = await socket.hear()
        assert [model["name"] for model in second["models"]] == ["second", "tiny"]
