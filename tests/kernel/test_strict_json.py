"""Bodies that two parsers could read differently are refused, each with its code."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secai_site.kernel.errors import InvalidRequest
from secai_site.kernel.http.parsers import parse_json
from tests.support.client import ListenerClient

REFUSED = {
    "nothing at all": (b" ", "json.syntax"),
    "two documents": (b"{} {}", "json.syntax"),
    "text after the end": (b"{}x", "json.syntax"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "json.syntax"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "json.encoding"),
    "broken UTF-8": (b'{"a": "\xff"}', "json.encoding"),
    "an overlong slash": (b'{"a": "\xc0\xaf"}', "json.encoding"),
    "a lone surrogate": (b'{"a": "\\ud800"}', "json.encoding"),
    "a lone surrogate in a key": (b'{"\\udfff": 1}', "json.encoding"),
    "a raw surrogate": (b'{"a": "\xed\xa0\x80"}', "json.encoding"),
    "the same key twice": (b'{"a": 1, "a": 1}', "json.duplicate_key"),
    "the same key twice, once escaped": (b'{"a": 1, "\\u0061": 2}', "json.duplicate_key"),
    "the same key twice, deep inside": (b'[{"b": [{"a": 1, "a": 2}]}]', "json.duplicate_key"),
    "NaN": (b'{"a": NaN}', "json.number"),
    "Infinity": (b'{"a": -Infinity}', "json.number"),
    "a number that becomes infinite": (b'{"a": 1e999}', "json.number"),
    "a number of 5,000 digits": (b"1" * 5000, "json.syntax"),
    "a comment": (b'{"a": 1} // no', "json.syntax"),
    "a trailing comma": (b'{"a": 1,}', "json.syntax"),
    "single quotes": (b"{'a': 1}", "json.syntax"),
    "a control character": (b'{"a": "\x01"}', "json.syntax"),
    "33 levels": (b"[" * 33 + b"]" * 33, "json.depth"),
    "100,000 levels, never closed": (b"[" * 100_000, "json.depth"),
    "levels of objects": (b'{"a":' * 33 + b"1" + b"}" * 33, "json.depth"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str) -> None:
    raw, code = REFUSED[name]
    with pytest.raises(InvalidRequest) as caught:
        parse_json(raw)
    assert (caught.value.error_code, caught.value.http_status) == (code, 400)


def test_32_levels_are_taken() -> None:
    raw = b"[" * 32 + b"]" * 32
    assert parse_json(raw) == json.loads(raw)


def test_brackets_in_strings_are_no_levels() -> None:
    assert parse_json(b'{"a": "' + b"[{" * 100 + b'\\""}') == {"a": "[{" * 100 + '"'}


def test_an_emoji_in_two_escapes_is_whole() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "😀"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(VALUES)
def test_what_is_well_formed_is_read_as_it_is_meant(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=60))
def test_no_bytes_cause_anything_but_a_refusal(raw: bytes) -> None:
    try:
        parse_json(raw)
    except InvalidRequest as error:
        assert error.error_code.startswith("json.")


# --- at a route --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
def test_a_route_answers_400_with_the_code(name: str, admin_program: ListenerClient) -> None:
    raw, code = REFUSED[name]
    answer = admin_program.send("POST", "/api/vm/gpu", raw)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("body", [[], [1], "text", 1, None, True])
def test_a_document_that_is_no_object_is_refused(body: Any, admin_program: ListenerClient) -> None:
    for kind in ("application/json", "application/json; charset=utf-8"):
        answer = admin_program.send("POST", "/api/vm/gpu", json.dumps(body).encode(), content_type=kind)
        assert (answer.status_code, answer.json()["code"]) == (400, "json.object")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"enabled": "true"}, "enabled"), ({"enabled": 1}, "enabled"), ({"enabled": None}, "enabled"),
        ({"other": 1}, "other"), ({"Enabled": True}, "Enabled"), ({"enabled ": True}, "enabled "),
    ],
)  # fmt: skip
def test_wrong_types_and_unknown_fields_are_named(
    body: dict[str, Any], field: str, admin_program: ListenerClient
) -> None:
    answer = admin_program.send("POST", "/api/vm/gpu", body)
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [field]
    assert answer.json()["error"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""]
)
def test_other_media_types_get_415(kind: str, admin_program: ListenerClient) -> None:
    answer = admin_program.send("POST", "/api/vm/gpu", b"{}", content_type=kind)
    assert (answer.status_code, answer.json()["code"]) == (415, "request.media_type")


def test_a_body_over_its_limit_gets_413(admin_program: ListenerClient) -> None:
    raw = b'{"a": "' + b"x" * (1024 * 1024) + b'"}'
    answer = admin_program.send("POST", "/api/vm/gpu", raw)
    assert (answer.status_code, answer.json()["code"]) == (413, "request.too_large")


def test_a_decision_takes_64_kib(admin_program: ListenerClient) -> None:
    firewall = ListenerClient("firewall", key=admin_program.defaults["HTTP_AUTHORIZATION"].split()[1])
    arguments = {"tool": "time.now", "arguments": {"a": "x" * 64 * 1024}}
    answer = firewall.send("POST", "/v1/tool/invoke", arguments)
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (
        413,
        "request.too_large",
        "denied",
    )
