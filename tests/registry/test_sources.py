"""Addresses that models come from: one form, compared by host and segment, and nothing that needs repair."""

import pytest

from registry.policy import BUNDLED, Policy, admit_source
from registry.sources import Source, parse_source
from secai_site.kernel.decisions import Allow, Deny

COMMIT = "0123456789abcdef" * 2 + "01234567"
BLOB = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("address", "canonical"),
    [
        ("https://huggingface.co", "https://huggingface.co/"),
        ("https://huggingface.co/", "https://huggingface.co/"),
        ("https://huggingface.co:443/a/b.gguf", "https://huggingface.co/a/b.gguf"),
        ("https://huggingface.co/org/model/", "https://huggingface.co/org/model"),
        ("https://huggingface.co/a/b?download=true", "https://huggingface.co/a/b?download=true"),
        ("https://xn--bcher-kva.example/a", "https://xn--bcher-kva.example/a"),
        ("https://h.example/v2/library/x/blobs/" + BLOB, "https://h.example/v2/library/x/blobs/" + BLOB),
        ("https://h.example/a@b/c~d/(e)+f,g;h=i", "https://h.example/a@b/c~d/(e)+f,g;h=i"),
        ("https://h.example/a...b/..c", "https://h.example/a...b/..c"),
    ],
)
def test_a_plain_address_has_one_form(address: str, canonical: str) -> None:
    found = parse_source(address)
    assert found is not None
    assert str(found) == canonical
    assert parse_source(canonical) == found


NO_ADDRESSES = {
    "nothing": "",
    "no scheme": "huggingface.co/a",
    "http": "http://huggingface.co/a",
    "a scheme in upper case": "HTTPS://huggingface.co/a",
    "a host in upper case": "https://HuggingFace.co/a",
    "no host": "https:///a",
    "one slash": "https:/huggingface.co/a",
    "a file": "file:///etc/passwd",
    "userinfo": "https://user:secret@huggingface.co/a",
    "a host as userinfo": "https://huggingface.co@evil.example/a",
    "an escaped at": "https://huggingface.co%40evil.example/a",
    "another port": "https://huggingface.co:8443/a",
    "an empty port": "https://huggingface.co:/a",
    "a port with a zero": "https://huggingface.co:0443/a",
    "two ports": "https://huggingface.co:443:443/a",
    "an escaped slash": "https://huggingface.co/a%2fb",
    "escaped dots": "https://huggingface.co/%2e%2e/a",
    "an escaped letter": "https://huggingface.co/%61",
    "a dot segment": "https://huggingface.co/./a",
    "a parent segment": "https://huggingface.co/a/../b",
    "a parent segment at the end": "https://huggingface.co/a/..",
    "a double slash": "https://huggingface.co//a",
    "a double slash within": "https://huggingface.co/a//b",
    "a double slash at the end": "https://huggingface.co/a//",
    "a letter beyond ASCII": "https://hüggingface.co/a",
    "a Cyrillic letter": "https://huggingfаce.co/a",
    "a wide letter": "https://h\uff55ggingface.co/a",
    "a wide full stop": "https://huggingface。co/a",
    "a letter beyond ASCII in the path": "https://huggingface.co/ä",
    "a fragment": "https://huggingface.co/a#b",
    "an empty fragment": "https://huggingface.co/a#",
    "a backslash": "https://huggingface.co\\a",
    "a backslash in the path": "https://huggingface.co/a\\..\\b",
    "a backslash before the at": "https://evil.example\\@huggingface.co/a",
    "a space": "https://huggingface.co/a b",
    "a space before": " https://huggingface.co/a",
    "a line end after": "https://huggingface.co/a\n",
    "a line end within": "https://huggingface.co/a\nb",
    "a tab in the host": "https://hugging\tface.co/a",
    "NUL": "https://huggingface.co/a\0",
    "DEL": "https://huggingface.co/a\x7f",
    "a trailing dot": "https://huggingface.co./a",
    "an empty label": "https://huggingface..co/a",
    "a leading dot": "https://.huggingface.co/a",
    "a label that ends in a hyphen": "https://huggingface-.co/a",
    "an underscore": "https://hugging_face.co/a",
    "one label": "https://localhost/a",
    "a wildcard": "https://*.huggingface.co/a",
    "IPv4": "https://127.0.0.1/a",
    "IPv4 as one number": "https://2130706433/a",
    "IPv4 in hex": "https://0x7f.0x0.0x0.0x1/a",
    "IPv4 in octal": "https://0177.0.0.01/a",
    "IPv6": "https://[::1]/a",
    "IPv4 in IPv6": "https://[::ffff:127.0.0.1]/a",
    "an escape in the query": "https://huggingface.co/a?b=%2e",
    "a bracket in the query": "https://huggingface.co/a?b[]=1",
    "a label that is too long": f"https://{'a' * 64}.example/a",
    "a host that is too long": f"https://{'a.' * 150}example/a",
    "an address that is too long": "https://huggingface.co/" + "a" * 2000,
    "JavaScript": "javascript:alert(1)",
}


@pytest.mark.parametrize("name", NO_ADDRESSES)
def test_what_a_browser_would_repair_is_no_address(name: str) -> None:
    assert parse_source(NO_ADDRESSES[name]) is None
    decision = admit_source(NO_ADDRESSES[name], Policy())
    assert isinstance(decision, Deny)
    assert decision.rule == "source.address"


def source(address: str) -> Source:
    found = parse_source(address)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("address", "prefix", "below"),
    [
        ("https://h.example/models/a", "https://h.example/models", True),
        ("https://h.example/models/a", "https://h.example/models/", True),
        ("https://h.example/models", "https://h.example/models/", True),
        ("https://h.example/a", "https://h.example/", True),
        ("https://h.example/models_evil/a", "https://h.example/models", False),
        ("https://h.example/modelsevil", "https://h.example/models/", False),
        ("https://h.example/Models/a", "https://h.example/models", False),
        ("https://h.example/", "https://h.example/models", False),
        ("https://h.example/x/models/a", "https://h.example/models", False),
        ("https://h.example.evil.example/models/a", "https://h.example/models", False),
        ("https://evilh.example/models/a", "https://h.example/models", False),
        ("https://evil.h.example/models/a", "https://h.example/models", False),
        ("https://g.example/models/a", "https://h.example/models", False),
    ],
)
def test_an_address_lies_below_another_by_whole_segments(address: str, prefix: str, below: bool) -> None:
    assert source(address).lies_below(source(prefix)) is below
    decision = admit_source(address + "/model.gguf", Policy(sources=(prefix,)))
    assert isinstance(decision, Allow) is below


@pytest.mark.parametrize(
    ("path", "immutable"),
    [
        (f"org/model/resolve/{COMMIT}/model.gguf", True),
        (f"org/model/resolve/{COMMIT}{COMMIT[:24]}/model.gguf", True),
        (f"datasets/org/data/resolve/{COMMIT}/model.gguf", True),
        (f"org/model/resolve/{COMMIT}/folder/resolve/model.gguf", True),
        (f"v2/library/llama/blobs/{BLOB}", True),
        (f"v2/llama/blobs/{BLOB}", True),
        ("org/model/resolve/main/model.gguf", False),
        ("org/model/resolve/refs/pr/1/model.gguf", False),
        (f"org/model/resolve/{COMMIT[:7]}/model.gguf", False),
        (f"org/model/resolve/{COMMIT.upper()}/model.gguf", False),
        (f"org/model/resolve/{COMMIT}x/model.gguf", False),
        (f"org/model/blob/{COMMIT}/model.gguf", False),
        (f"v2/library/llama/blobs/sha256-{'a' * 64}", False),
        (f"v2/library/llama/blobs/sha256:{'a' * 63}", False),
        ("v2/library/llama/manifests/latest", False),
        # what looks like a pin, in a path that lies below a branch, or in somebody's name
        (f"org/model/resolve/main/resolve/{COMMIT}/model.gguf", False),
        (f"org/model/resolve/main/blobs/{BLOB}", False),
        (f"org/model/raw/main/resolve/{COMMIT}/model.gguf", False),
        (f"resolve/{COMMIT}/resolve/main/model.gguf", False),
        (f"datasets/resolve/{COMMIT}/resolve/main/model.gguf", False),
        (f"org/model/resolve/main/model.gguf?resolve/{COMMIT}", False),
        ("org/model/resolve", False),
        ("", False),
    ],
)
def test_what_names_one_revision_for_ever(path: str, immutable: bool) -> None:
    address = f"https://huggingface.co/{path}"
    assert source(address).is_immutable is immutable
    decision = admit_source(address, Policy(revision_pins=True))
    assert isinstance(decision, Allow) is immutable


# --- what the policy says of them --------------------------------------------------------------------


@pytest.mark.parametrize("where", [*BUNDLED, "local", "https://huggingface.co/org/model/resolve/main/m.gguf"])
def test_the_policy_of_a_new_box_lets_in(where: str) -> None:
    assert isinstance(admit_source(where, Policy()), Allow)


@pytest.mark.parametrize(
    ("where", "policy", "rule"),
    [
        ("local", Policy(local_import=False), "source.local"),
        ("Local", Policy(), "source.address"),
        ("local ", Policy(), "source.address"),
        ("bundled:other==1", Policy(), "source.address"),
        ("https://huggingface.co/", Policy(), "source.address"),
        ("https://huggingface.co/?a=b", Policy(), "source.address"),
        ("https://evil.example/huggingface.co/m", Policy(), "source.unlisted"),
        ("https://huggingface.co/a/m", Policy(sources=()), "source.unlisted"),
        ("https://huggingface.co/a/resolve/main/m", Policy(revision_pins=True), "source.revision"),
    ],
)
def test_the_policy_refuses_with_its_rule(where: str, policy: Policy, rule: str) -> None:
    decision = admit_source(where, policy)
    assert isinstance(decision, Deny)
    assert decision.rule == rule
    assert decision.reason.endswith(".")


def test_uploads_being_forbidden_does_not_forbid_this_boxs_own_model() -> None:
    assert isinstance(admit_source(next(iter(BUNDLED)), Policy(local_import=False, sources=())), Allow)
