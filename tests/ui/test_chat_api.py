"""Chat over HTTP: complete and streamed, one's own and nobody else's, and what happens when parts fail."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async

from registry.models import Artifact
from secai_site.kernel.auth import keys
from secai_site.kernel.auth.models import ApiKey
from secai_site.kernel.inference.echo import EchoEngine
from secai_site.kernel.inference.errors import ContextTooLong
from tests.support.builders import conversation, promoted
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, browser, caller, events_of, program
from ui.chat.models import Conversation, Message

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def key(cast: Cast, peers: EchoEngine) -> str:
    """The member's key for chatting; there is a model."""
    promoted()
    return key_of(cast.member, "chat", "read")


@pytest.fixture
async def api(key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A program of the member."""
    async with caller(key) as client:
        yield client


def rows(**filters: Any) -> list[Message]:
    """Messages in the order in which they were made."""
    return list(Message.objects.filter(**filters).order_by("created_at"))


stored = sync_to_async(rows)


# --- complete ----------------------------------------------------------------------------------------


async def test_a_question_gets_its_answer(api: httpx.AsyncClient, cast: Cast, audited: Any) -> None:
    answer = await api.post("/api/chat", json={"message": "hello there world"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {
        "conversation_id", "message_id", "model", "message", "finish_reason", "usage", "timings",
    }  # fmt: skip
    assert body["message"] == {"role": "assistant", "content": "hello there world"}
    assert (body["model"], body["finish_reason"]) == ("tiny", "stop")
    assert set(body["usage"]) == {"prompt_tokens", "cached_tokens", "completion_tokens"}
    assert set(body["timings"]) == {"queued_ms", "first_token_ms", "total_ms", "tokens_per_second"}
    question, reply = await stored()
    assert (str(reply.pk), reply.state, reply.content) == (
        body["message_id"],
        "complete",
        "hello there world",
    )
    assert (reply.parent_id, question.role) == (question.pk, "user")
    events = await sync_to_async(audited)("chat.message:asked")
    assert events[0]["detail"] == {"message": body["message_id"], "model": "tiny"}
    assert "hello" not in json.dumps(events)


async def test_a_conversation_goes_on(api: httpx.AsyncClient, peers: EchoEngine) -> None:
    first = (await api.post("/api/chat", json={"message": "one", "system": "Be brief.", "seed": 7})).json()
    second = await api.post("/api/chat", json={"message": "two", "conversation_id": first["conversation_id"]})
    assert second.json()["conversation_id"] == first["conversation_id"]
    asked = peers.requests[-1]
    assert [(m.role, m.content) for m in asked.messages or ()] == [
        ("system", "Be brief."), ("user", "one"), ("assistant", "one"), ("user", "two"),
    ]  # fmt: skip
    assert asked.sampling.seed == 7


async def test_earlier_turns_can_be_brought_along(api: httpx.AsyncClient, peers: EchoEngine) -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    answer = await api.post("/api/chat", json={"messages": turns, "max_tokens": 5, "stop": ["x"]})
    assert answer.json()["message"]["content"] == "c"
    assert [m.content for m in peers.requests[0].messages or ()] == ["a", "b", "c"]
    assert (peers.requests[0].sampling.max_tokens, peers.requests[0].sampling.stop) == (5, ("x",))
    assert len(await stored()) == 4


async def test_an_answer_that_is_long_enough_ends_by_length(api: httpx.AsyncClient) -> None:
    body = (await api.post("/api/chat", json={"message": "a b c d", "max_tokens": 2})).json()
    assert (body["finish_reason"], body["message"]["content"]) == ("length", "a b")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"message": ""}, {"message": 7}, {"message": None}, {"message": ["a"]}, {"message": "a", "x": 1},
        {"message": "a", "messages": [{"role": "user", "content": "a"}]}, {"messages": []}, {"messages": "a"},
        {"messages": [{"role": "system", "content": "a"}]}, {"messages": [{"role": "assistant", "content": "a"}]},
        {"messages": [{"role": "user"}]}, {"messages": [{"role": "user", "content": "a", "name": "x"}]},
        {"messages": [1]},
        {"message": "a", "temperature": "1"}, {"message": "a", "temperature": 5.1},
        {"message": "a", "temperature": True},
        {"message": "a", "max_tokens": 0}, {"message": "a", "max_tokens": 1.0}, {"message": "a", "max_tokens": True},
        {"message": "a", "max_tokens": 10**30}, {"message": "a", "seed": -1}, {"message": "a", "seed": 2**32},
        {"message": "a", "stop": "x"}, {"message": "a", "stop": [1]}, {"message": "a", "stop": ["x"] * 17},
        {"message": "a", "stop": ["x" * 257]}, {"message": "a", "stream": 1}, {"message": "a", "conversation_id": "x"},
        {"message": "a", "conversation_id": 7}, {"message": "a", "conversation_id": True},
        {"message": "a", "conversation_id": [1]}, {"message": "a", "model": 7}, {"message": "a", "model": "x" * 129},
        {"message": "a", "system": None}, {"message": "a\0b"}, {"message": "x" * 200_001}, {"Message": "a"},
    ],
    ids=lambda body: json.dumps(body)[:60],
)  # fmt: skip
async def test_a_malformed_question_is_refused(
    api: httpx.AsyncClient, body: dict[str, Any], peers: EchoEngine
) -> None:
    answer = await api.post("/api/chat", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request.invalid"), answer.text
    assert await stored() == []
    assert peers.requests == []


async def test_what_is_not_built_says_so(api: httpx.AsyncClient) -> None:
    for extra in ({"search": True}, {"attachments": ["x"]}):
        answer = await api.post("/api/chat", json={"message": "a", **extra})
        assert (answer.status_code, answer.json()["code"]) == (501, "service.not_built")
    assert await stored() == []


async def test_each_question_counts_once(api: httpx.AsyncClient, settings: Any) -> None:
    settings.RATES = settings.RATES | {"chat": "2/m"}
    codes = [(await api.post("/api/chat", json={"message": "a"})).status_code for _ in range(3)]
    assert codes == [200, 200, 429]


# --- streamed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["body", "header"])
async def test_a_stream_counts_its_pieces_and_ends_with_the_rest(api: httpx.AsyncClient, how: str) -> None:
    body = {"message": "one two three"} | ({"stream": True} if how == "body" else {})
    headers = {"Accept": "text/event-stream"} if how == "header" else {}
    answer = await api.post("/api/chat", json=body, headers=headers)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    events = events_of(answer.text)
    pieces = [data for name, data in events if name == "message"]
    assert [piece["seq"] for piece in pieces] == list(range(len(pieces)))
    assert "".join(piece["text"] for piece in pieces) == "one two three"
    name, last = events[-1]
    assert (name, last["finish_reason"], last["message"]) == ("done", "stop", {"role": "assistant"})
    reply = (await stored(role="assistant"))[0]
    assert (str(reply.pk), reply.state) == (last["message_id"], "complete")


async def test_a_stream_that_cannot_begin_says_why(api: httpx.AsyncClient, peers: EchoEngine) -> None:
    peers.refuse = ContextTooLong("The conversation is too long.", prompt_tokens=9, context_length=4)
    answer = await api.post("/api/chat", json={"message": "a", "stream": True})
    assert events_of(answer.text) == [
        ("error", {"error": "The conversation is too long.", "code": "context.too_long", "prompt_tokens": 9,
                   "context_length": 4})
    ]  # fmt: skip
    assert (await stored(role="assistant"))[0].state == "failed"


# --- models ------------------------------------------------------------------------------------------


async def test_without_a_model_one_is_told_what_to_do(cast: Cast, peers: EchoEngine) -> None:
    async with caller(await sync_to_async(key_of)(cast.member, "chat")) as api:
        for path, body in (("/api/chat", {"message": "a"}), ("/api/generate", {"prompt": "a"})):
            answer = await api.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (409, "chat.no_model")
            assert "Import one" in answer.json()["error"]
    assert await stored() == []


async def test_a_model_whose_file_changed_is_not_used(api: httpx.AsyncClient, peers: EchoEngine) -> None:
    await Artifact.objects.aupdate(status="failed")
    for path, body in (("/api/chat", {"message": "a"}), ("/api/generate", {"prompt": "a"})):
        answer = await api.post(path, json=body | {"model": "tiny"})
        assert answer.status_code == 403
        assert (answer.json()["code"], answer.json()["integrity_failed"]) == ("model.integrity", True)
        assert (await api.post(path, json=body)).status_code == 409
    assert peers.requests == []
    assert await stored() == []


async def test_an_unknown_model_is_not_found(api: httpx.AsyncClient) -> None:
    for name in ("missing", "..", "../quarantine", "a/b", "?x=1", "ä", " "):
        answer = await api.post("/api/chat", json={"message": "a", "model": name})
        assert answer.status_code in (400, 404), (name, answer.text)
    assert await stored() == []


async def test_a_model_that_only_completes_does_not_chat(api: httpx.AsyncClient) -> None:
    await sync_to_async(promoted)("plain", chat=False)
    answer = await api.post("/api/chat", json={"message": "a", "model": "plain"})
    assert (answer.status_code, answer.json()["code"]) == (409, "model.purpose")
    assert "holds no conversation" in answer.json()["error"]
    assert await stored() == []
    assert (await api.post("/api/generate", json={"prompt": "a b", "model": "plain"})).json()["text"] == "a b"


def only(*purposes: str) -> None:
    """A box with a model of each of these purposes, named so, and no other."""
    Artifact.objects.all().delete()
    for purpose in purposes:
        made = promoted(purpose, chat=purpose == "chat")
        made.facts |= {"purpose": purpose}
        made.save()


async def test_only_a_model_that_chats_is_chosen_for_a_chat(api: httpx.AsyncClient) -> None:
    await sync_to_async(only)("completion", "embedding", "pictures", "weights")
    answer = await api.post("/api/chat", json={"message": "a"})
    assert (answer.status_code, answer.json()["code"]) == (409, "chat.no_model")
    await sync_to_async(only)("completion", "chat", "embedding")
    assert (await api.post("/api/chat", json={"message": "a"})).json()["model"] == "chat"


async def test_a_text_is_completed_by_a_model_that_writes(api: httpx.AsyncClient) -> None:
    await sync_to_async(only)("embedding", "weights")
    assert (await api.post("/api/generate", json={"prompt": "a"})).json()["code"] == "chat.no_model"
    await sync_to_async(only)("completion", "embedding")
    assert (await api.post("/api/generate", json={"prompt": "a"})).json()["model"] == "completion"
    await sync_to_async(only)("a-completion", "chat", "completion")
    assert (await api.post("/api/generate", json={"prompt": "a"})).json()["model"] == "chat"


@pytest.mark.parametrize("purpose", ["embedding", "pictures", "weights"])
async def test_a_model_that_cannot_write_is_refused_by_its_name(
    api: httpx.AsyncClient, purpose: str, peers: EchoEngine
) -> None:
    await sync_to_async(only)("chat", purpose)
    for path, body in (("/api/chat", {"message": "a"}), ("/api/generate", {"prompt": "a"})):
        answer = await api.post(path, json={**body, "model": purpose})
        assert (answer.status_code, answer.json()["code"]) == (409, "model.purpose")
        assert purpose in answer.json()["error"]
    assert await stored() == []
    assert peers.requests == []


# --- when the engine fails ---------------------------------------------------------------------------


async def test_an_engine_that_is_down_is_503(api: httpx.AsyncClient, peers: EchoEngine) -> None:
    peers.dead = True
    answer = await api.post("/api/chat", json={"message": "a"})
    assert (answer.status_code, answer.json()["code"]) == (503, "engine.down")
    failed = (await stored(role="assistant"))[0]
    assert (failed.state, failed.error_code) == ("failed", "engine.down")
    peers.dead = False
    again = await api.post("/api/chat", json={"message": "b", "conversation_id": str(failed.conversation_id)})
    assert again.json()["message"]["content"] == "b"
    assert [m.content for m in peers.requests[-1].messages or ()] == ["b"]


@pytest.mark.parametrize("ends", ["die_after", "fail_after"])
async def test_an_answer_cut_short_keeps_its_text(
    api: httpx.AsyncClient, peers: EchoEngine, ends: str
) -> None:
    setattr(peers, ends, 2)
    answer = await api.post("/api/chat", json={"message": "one two three four"})
    body = answer.json()
    assert (answer.status_code, body["finish_reason"]) == (200, "interrupted")
    assert body["message"]["content"] == "one two"
    reply = (await stored(role="assistant"))[0]
    assert (reply.state, reply.content, reply.finish_reason) == ("interrupted", "one two", "interrupted")
    peers.dead, peers.die_after, peers.fail_after = False, None, None
    again = await api.post("/api/chat", json={"message": "next", "conversation_id": body["conversation_id"]})
    assert again.json()["message"]["content"] == "next"
    assert [m.content for m in peers.requests[-1].messages or ()][-3:] == [
        "one two three four",
        "one two",
        "next",
    ]


async def test_a_stream_cut_short_ends_as_interrupted(api: httpx.AsyncClient, peers: EchoEngine) -> None:
    peers.die_after = 1
    events = events_of((await api.post("/api/chat", json={"message": "a b c", "stream": True})).text)
    assert [name for name, _data in events] == ["message", "done"]
    assert (events[1][1]["finish_reason"], events[1][1]["usage"]) == ("interrupted", None)


# --- revoking ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/chat", {"message": "w " * 500}), ("/api/generate", {"prompt": "w " * 500, "max_tokens": 500})],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_revoked_key_ends_what_it_started(
    api: httpx.AsyncClient, peers: EchoEngine, path: str, body: dict[str, Any], stream: bool
) -> None:
    peers.delay = 0.05
    asking = asyncio.ensure_future(api.post(path, json=body | {"stream": stream}))
    while not peers.requests:
        await asyncio.sleep(0.02)
    row = await ApiKey.objects.aget()
    await sync_to_async(keys.revoke_key)(key=row, actor="test")
    answer = await asyncio.wait_for(asking, 2)
    assert "cancelled" in answer.text
    assert (await peers.status()).active == 0
    assert (await api.get("/api/conversations")).status_code == 401


# --- whose it is -------------------------------------------------------------------------------------


def test_a_stranger_finds_nothing(cast: Cast, peers: EchoEngine) -> None:
    promoted()
    talk = conversation(cast.member, "question", "answer")
    before = Conversation.objects.values().get()
    for person in (cast.stranger, cast.operator):
        client = browser(person)
        assert client.get("/api/conversations").json()["conversations"] == []
        assert client.get("/api/conversations", {"q": "question"}).json()["conversations"] == []
        for method, path, body in (
            ("GET", "", None), ("PATCH", "", {"title": "mine"}), ("DELETE", "", None), ("GET", "/export", None),
            ("POST", "/restore", {}),
        ):  # fmt: skip
            answer = client.send(method, f"/api/conversations/{talk.pk}{path}", body)
            assert (answer.status_code, answer.json()["code"]) == (404, "chat.not_found"), (method, path)
        answer = client.send("POST", "/api/chat", {"message": "a", "conversation_id": str(talk.pk)})
        assert (answer.status_code, answer.json()["code"]) == (404, "chat.not_found")
    assert Conversation.objects.values().get() == before
    assert Message.objects.count() == 2


def test_a_stranger_cannot_tell_a_foreign_conversation_from_none(cast: Cast) -> None:
    talk = conversation(cast.member, "question")
    client = browser(cast.stranger)
    foreign = client.get(f"/api/conversations/{talk.pk}")
    none = client.get(f"/api/conversations/{uuid.uuid4()}")
    assert (foreign.status_code, foreign.content) == (none.status_code, none.content)


def test_a_service_of_its_own_has_no_conversations(cast: Cast) -> None:
    from tests.support.client import service

    answer = service("agent", "ui").send("POST", "/api/chat", {"message": "a"})
    assert (answer.status_code, answer.json()["code"]) == (403, "chat.no_owner")
    assert service("agent", "ui").get("/api/conversations").status_code == 403


def test_a_leaf_of_another_conversation_is_not_set(cast: Cast) -> None:
    mine, theirs = conversation(cast.member, "a"), conversation(cast.stranger, "b")
    client = browser(cast.member)
    leaf = str(Message.objects.get(conversation=theirs).pk)
    answer = client.send("PATCH", f"/api/conversations/{mine.pk}", {"active_leaf": leaf})
    assert (answer.status_code, answer.json()["code"]) == (404, "chat.not_found")
    mine.refresh_from_db()
    assert str(mine.active_leaf) != leaf


# --- keeping order -----------------------------------------------------------------------------------


@pytest.fixture
def mia(cast: Cast, peers: EchoEngine) -> ListenerClient:
    """The member's browser."""
    return browser(cast.member)


def test_conversations_are_renamed_pinned_and_filed(mia: ListenerClient, cast: Cast, audited: Any) -> None:
    talk = conversation(cast.member, "question")
    changes = {"title": "New", "pinned": True, "folder": "Work", "system": "Be kind."}
    body = mia.send("PATCH", f"/api/conversations/{talk.pk}", changes).json()
    assert (body["title"], body["pinned"], body["folder"]) == ("New", True, "Work")
    assert mia.get("/api/conversations", {"folder": "Work"}).json()["conversations"][0]["id"] == str(talk.pk)
    assert mia.get("/api/conversations", {"folder": "Other"}).json()["conversations"] == []
    assert audited("chat.conversation:changed")[0]["detail"] == {"fields": sorted(changes)}


@pytest.mark.parametrize(
    "body", [{"title": ""}, {"title": "x" * 201}, {"title": 1}, {"pinned": "yes"}, {"owner": 1}, {"active_leaf": None},
             {"deleted_at": None}, {"model": "x"}],
)  # fmt: skip
def test_other_changes_are_refused(mia: ListenerClient, cast: Cast, body: dict[str, Any]) -> None:
    talk = conversation(cast.member, "question")
    assert mia.send("PATCH", f"/api/conversations/{talk.pk}", body).status_code == 400
    assert Conversation.objects.get().title == "A talk"


def test_the_trash_gives_back(mia: ListenerClient, cast: Cast, audited: Any) -> None:
    talk = conversation(cast.member, "question")
    path = f"/api/conversations/{talk.pk}"
    assert mia.send("POST", f"{path}/restore", {}).status_code == 404
    assert mia.send("DELETE", path).json()["restorable_days"] == 30
    assert mia.get(path).status_code == 404
    assert mia.send("DELETE", path).status_code == 404
    assert mia.get("/api/conversations").json()["conversations"] == []
    assert mia.send("POST", "/api/chat", {"message": "a", "conversation_id": str(talk.pk)}).status_code == 404
    assert mia.send("POST", f"{path}/restore", {}).status_code == 200
    assert mia.get(path).json()["messages"][0]["content"] == "question"
    assert [len(audited(f"chat.conversation:{what}")) for what in ("deleted", "restored")] == [1, 1]


def test_the_trash_is_emptied_after_30_days(cast: Cast, audited: Any) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from ui.chat.services import purge_trash

    for days in (29, 31):
        talk = conversation(cast.member, "question")
        Conversation.objects.filter(pk=talk.pk).update(deleted_at=timezone.now() - timedelta(days=days))
    conversation(cast.member, "kept")
    assert purge_trash() == 1
    assert purge_trash() == 0
    assert (Conversation.objects.count(), Message.objects.count()) == (2, 2)
    assert audited("chat.conversation:purged")[0]["detail"] == {"count": 1}


def test_search_finds_titles_and_messages(mia: ListenerClient, cast: Cast) -> None:
    one = conversation(cast.member, "about whales", title="Sea")
    two = conversation(cast.member, "other", title="Whale songs")
    conversation(cast.stranger, "whales too")
    found = {row["id"] for row in mia.get("/api/conversations", {"q": "whale"}).json()["conversations"]}
    assert found == {str(one.pk), str(two.pk)}
    for odd in ("%", "_", "'; DROP TABLE ui_conversation; --", "\\", "ä" * 200):
        assert mia.get("/api/conversations", {"q": odd}).json()["conversations"] == []


def test_the_list_turns_its_pages(mia: ListenerClient, cast: Cast, django_assert_num_queries: Any) -> None:
    made = [conversation(cast.member, f"n{n}", "a", title=f"Talk {n}") for n in range(5)]
    first = mia.get("/api/conversations", {"limit": 2}).json()
    assert ([row["title"] for row in first["conversations"]], first["more"]) == (["Talk 4", "Talk 3"], True)
    rest = mia.get(
        "/api/conversations", {"limit": 3, "before": first["conversations"][-1]["updated_at"]}
    ).json()
    assert ([row["title"] for row in rest["conversations"]], rest["more"]) == (
        ["Talk 2", "Talk 1", "Talk 0"],
        False,
    )
    from ui.chat.selectors import conversation_json, conversations_of

    with django_assert_num_queries(1):
        page, _more = conversations_of(cast.member)
        assert len([conversation_json(row) for row in page]) == len(made)


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"limit": "9" * 5000}, {"before": "yesterday"}, {"x": "1"},
     {"before": "0001-01-01T00:00:00+14:00"}, {"before": "9999-12-31T23:59:59-14:00"}, {"q": "x" * 201},
     {"q": "a\0"}],
)  # fmt: skip
def test_a_malformed_query_is_refused(mia: ListenerClient, query: dict[str, str]) -> None:
    assert mia.get("/api/conversations", query).status_code == 400


def test_a_conversation_is_exported(mia: ListenerClient, cast: Cast) -> None:
    talk = conversation(cast.member, "question ä", "answer", title="A\ntitle")
    as_json = mia.get(f"/api/conversations/{talk.pk}/export")
    assert [m["content"] for m in json.loads(as_json.content)["messages"]] == ["question ä", "answer"]
    assert as_json["Content-Disposition"] == f'attachment; filename="conversation-{talk.pk}.json"'
    markdown = mia.get(f"/api/conversations/{talk.pk}/export", {"as": "markdown"})
    assert markdown["Content-Type"].startswith("text/markdown")
    assert "## You\n\nquestion ä\n\n## Model\n\nanswer" in markdown.content.decode()


# --- generating --------------------------------------------------------------------------------------


async def test_a_text_is_completed_and_not_kept(api: httpx.AsyncClient, peers: EchoEngine) -> None:
    body = (await api.post("/api/generate", json={"prompt": "once upon a time"})).json()
    assert (body["text"], body["model"], body["finish_reason"]) == ("once upon a time", "tiny", "stop")
    assert peers.requests[0].sampling.max_tokens == 512
    assert peers.requests[0].messages is None
    assert await stored() == []


async def test_a_completion_is_streamed(api: httpx.AsyncClient) -> None:
    answer = await api.post("/api/generate", json={"prompt": "a b c", "stream": True})
    events = events_of(answer.text)
    assert [data["seq"] for name, data in events if name == "message"] == [0, 1, 2]
    assert (events[-1][0], events[-1][1]["finish_reason"]) == ("done", "stop")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_completion_cut_short_is_an_error(
    api: httpx.AsyncClient, peers: EchoEngine, stream: bool
) -> None:
    peers.die_after = 1
    answer = await api.post("/api/generate", json={"prompt": "a b c", "stream": stream})
    if stream:
        assert [(n, d.get("code")) for n, d in events_of(answer.text)] == [
            ("message", None),
            ("error", "engine.down"),
        ]
    else:
        assert (answer.status_code, answer.json()["code"]) == (503, "engine.down")


def test_a_member_without_the_scope_cannot_chat(cast: Cast, peers: EchoEngine) -> None:
    client = program(key_of(cast.member, "read"))
    for method, path in (("POST", "/api/chat"), ("POST", "/api/generate"), ("GET", "/api/conversations")):
        assert client.send(method, path, {"message": "a"} if method == "POST" else None).status_code == 403
