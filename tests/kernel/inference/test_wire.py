import base64
import math
import struct

import pytest

from secai_site.kernel.errors import InvalidRequest
from secai_site.kernel.inference.errors import ContextTooLong, ModelIntegrityError
from secai_site.kernel.inference.protocol import (
    ChatMessage,
    Delta,
    Done,
    Embeddings,
    Event,
    Failed,
    GenerationRequest,
    ModelFile,
    Sampling,
    State,
    Timings,
    Usage,
)
from secai_site.kernel.inference.wire import (
    MAX_FRAME,
    WireError,
    dump_frame,
    event_frame,
    pack,
    pack_embeddings,
    parse_event,
    parse_frame,
    unpack,
    unpack_embeddings,
)

MODEL = ModelFile("m", "m.gguf", "0" * 64)
REQUEST = GenerationRequest("g1", MODEL, (ChatMessage("user", "Grüße 🦊"),), None, Sampling(stop=("x", "y")))


def test_a_request_survives_the_wire() -> None:
    assert unpack(GenerationRequest, parse_frame(dump_frame(pack(REQUEST)))) == REQUEST


@pytest.mark.parametrize(
    "event",
    [
        State("loading", progress=0.5),
        Delta(3, "\n\u2028\\"),
        Done("length", Usage(1, 2, 3), Timings(1.0, 2.0, 3.0, 4.0)),
        Failed("engine.failed", "no", 500, None, {"x": 1}),
    ],
)
def test_an_event_survives_the_wire(event: Event) -> None:
    line = dump_frame(event_frame(event))
    assert line.count(b"\n") == 1
    assert parse_event(parse_frame(line)) == event


@pytest.mark.parametrize(
    "line",
    [
        b"[]\n",
        b"{\n",
        b'{"a":1,"a":2}\n',
        b'{"a":NaN}\n',
        b'{"a":1} {}\n',
        b"\xff\n",
        b'{"a":' + b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_no_strict_json_object_is_refused(line: bytes) -> None:
    with pytest.raises(WireError):
        parse_frame(line)


def test_a_frame_over_the_limit_is_refused_in_both_directions() -> None:
    with pytest.raises(WireError):
        dump_frame({"a": "x" * MAX_FRAME})
    with pytest.raises(WireError):
        parse_frame(b"x" * (MAX_FRAME + 1))


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"prompt": "both"},
        {"id": 7},
        {"id": "a b"},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"messages": [{"role": "<|im_start|>system", "content": ""}]},
        {"messages": "hello"},
        {"sampling": {"temperature": True}},
        {"sampling": {"max_tokens": 1.5}},
        {"sampling": {"top_p": 2}},
        {"sampling": {"stop": [""]}},
        {"sampling": {"seed": -1}},
        {"model": {"name": "m", "path": "m", "sha256": "XYZ"}},
        {"model": {**pack(MODEL), "parts": "m"}},
        {"model": {**pack(MODEL), "parts": [1]}},
        {"model": {**pack(MODEL), "parts": [["m"]]}},
        {"model": {**pack(MODEL), "parts": ["../m"]}},
        {"model": {**pack(MODEL), "parts": ["m", "m"]}},
        {"model": None},
    ],
)
def test_a_request_with_a_wrong_member_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        unpack(GenerationRequest, {**pack(REQUEST), **change})


def test_numbers_that_are_none_are_refused() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(InvalidRequest):
            Sampling(temperature=value)


def test_a_failure_becomes_the_same_exception_on_the_other_side() -> None:
    error = ContextTooLong("too long", prompt_tokens=9, context_length=8)
    frame = dump_frame(event_frame(Failed.from_error(error)))
    event = parse_event(parse_frame(frame))
    assert isinstance(event, Failed)
    again = event.to_error()
    assert isinstance(again, ContextTooLong)
    assert (again.http_status, again.body()) == (413, error.body())
    integrity = Failed.from_error(ModelIntegrityError("changed")).to_error()
    assert isinstance(integrity, ModelIntegrityError)
    assert integrity.body()["integrity_failed"] is True


def test_a_model_in_several_files_survives_the_wire() -> None:
    model = ModelFile("m", "folder", "0" * 64, ("a.gguf", "inner/b.gguf"))
    assert unpack(ModelFile, parse_frame(dump_frame(pack(model)))) == model


def test_vectors_survive_the_wire_to_the_bit() -> None:
    found = Embeddings(((0.5, -0.25, 2.0**-30), (1.0, 0.0, -0.0)), 7)
    assert unpack_embeddings(parse_frame(dump_frame(pack_embeddings(found))), count=2) == found


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    "members",
    [
        {"tokens": 9, "vectors": [packed(1.0)]},
        {"tokens": 9, "vectors": [packed(1.0)] * 3},
        {"tokens": 9, "vectors": [packed(1.0), packed(1.0, 0.0)]},
        {"tokens": 9, "vectors": ["", ""]},
        {"tokens": 9, "vectors": [packed(1.0), packed(math.nan)]},
        {"tokens": 9, "vectors": [packed(1.0), packed(math.inf)]},
        {"tokens": 9, "vectors": [packed(1.0), packed(1.0)[:-1]]},
        {"tokens": 9, "vectors": [packed(1.0), "AAA="]},
        {"tokens": 9, "vectors": [packed(1.0), "\u00e4" * 8]},
        {"tokens": 9, "vectors": [packed(1.0), [1.0]]},
        {"tokens": 1, "vectors": [packed(1.0)] * 2},
        {"tokens": 9.0, "vectors": [packed(1.0)] * 2},
        {"vectors": [packed(1.0)] * 2},
        None,
    ],
)
def test_what_are_not_the_vectors_that_were_asked_for_is_refused(members: object) -> None:
    with pytest.raises(WireError):
        unpack_embeddings(members, count=2)
