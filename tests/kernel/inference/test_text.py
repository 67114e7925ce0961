from hypothesis import given
from hypothesis import strategies as st

from secai_site.kernel.inference.text import StopFilter, TextStream


def streamed(pieces: list[bytes], *stops: str) -> tuple[list[str], bool]:
    stream = TextStream(stops, interval=0)
    out = []
    for now, piece in enumerate(pieces):
        out.append(stream.feed(piece, float(now)))
        if stream.stopped:
            break
    return [*out, stream.finish()], stream.stopped


def test_a_code_point_split_over_tokens_is_handed_out_whole() -> None:
    emoji = "🦊".encode()
    texts, _ = streamed([b"a", emoji[:1], emoji[1:3], emoji[3:], b"b"])
    assert texts == ["a", "", "", "🦊", "b", ""]


def test_an_unfinished_code_point_at_the_end_is_dropped() -> None:
    assert "".join(streamed(["ä".encode()[:1]])[0]) == ""


def test_bytes_that_are_no_text_become_the_replacement_character() -> None:
    assert "".join(streamed([b"\xff", b"ok"])[0]) == "\ufffdok"


@given(st.text(), st.data())
def test_text_survives_any_cutting_into_tokens(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)))))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert "".join(streamed(pieces)[0]) == text


def test_a_stop_string_over_three_tokens_never_shows() -> None:
    texts, stopped = streamed([b"Hello EN", b"DOFT", b"URN and more"], "ENDOFTURN")
    assert ("".join(texts), stopped) == ("Hello ", True)


def test_what_only_looked_like_a_stop_string_is_handed_out() -> None:
    texts, stopped = streamed([b"x END", b"ING", b" y EN"], "ENDOF")
    assert ("".join(texts), stopped) == ("x ENDING y EN", False)


def test_the_earliest_of_several_stop_strings_counts() -> None:
    assert "".join(streamed([b"one B two A three"], "A", "B")[0]) == "one "


@given(st.text("ab", max_size=40), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_filtering_piece_by_piece_equals_cutting_the_whole(text: str, stops: list[str]) -> None:
    kept, stopped, whole = "", False, StopFilter(tuple(stops))
    for character in text:
        out, stopped = whole.feed(character)
        kept += out
        if stopped:
            break
    # the stop that is complete first ends the answer
    ends = [at + len(stop) for stop in stops if (at := text.find(stop)) >= 0]
    assert stopped == bool(ends)
    if not stopped:
        assert kept + whole.flush() == text
    else:
        head = text[: min(ends)]
        assert kept == head[: min(head.find(stop) for stop in stops if stop in head)]


def test_the_first_text_goes_at_once_and_the_rest_is_collected() -> None:
    stream = TextStream(interval=0.03)
    assert stream.feed(b"a", 1.000) == "a"
    assert stream.feed(b"b", 1.010) == ""
    assert stream.feed(b"c", 1.031) == "bc"
    assert stream.feed(b"d", 1.032) == ""
    assert stream.finish() == "d"
