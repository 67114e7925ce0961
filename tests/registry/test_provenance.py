"""Who vouches for a model: signatures that count, signatures that do not, and what is refused."""

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry import trusted
from registry.policy import BUNDLED, Policy
from registry.quarantine.child import Outcome, python_child, run_child
from registry.quarantine.signatures import bundle, detached
from registry.quarantine.stages.base import StageVerdict, Subject, SubjectFile
from registry.quarantine.stages.provenance import Provenance
from secai_site.kernel.files import set_digest
from tests.support.signing import Elliptic, Minisign, pem_of

pytestmark = pytest.mark.django_db

DATA = b"the bytes of a model" * 1000
SET = {"model_index.json": b"{}", "unet/model.safetensors": b"weights", "vae/model.safetensors": b"more"}


@contextlib.contextmanager
def subject_of(
    files: bytes | Mapping[str, bytes], signature: bytes | None, folder: Path, *, required: bool = False,
    source: str = "local",
) -> Iterator[Subject]:  # fmt: skip
    """A model under scan, as the scan opens it."""
    is_set = not isinstance(files, bytes)
    parts: Mapping[str, bytes] = files if not isinstance(files, bytes) else {"My model.gguf": files}
    with contextlib.ExitStack() as opened:

        def descriptor(path: Path, data: bytes) -> int:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            made = os.open(path, os.O_RDONLY)
            opened.callback(os.close, made)
            return made

        root = folder / "item" / "artifact"
        entries = tuple(
            SubjectFile(
                name,
                descriptor(root / name if is_set else root, data),
                hashlib.sha256(data).hexdigest(),
                len(data),
            )
            for name, data in parts.items()
        )
        digest = set_digest((one.path, one.sha256) for one in entries) if is_set else entries[0].sha256
        yield Subject(
            folder=root.parent, path=root, files=entries, is_set=is_set, name="m", filename="My model.gguf",
            source=source, sha256=digest, size_bytes=sum(map(len, parts.values())),
            policy=Policy(signature="required" if required else "optional"),
            signature=None if signature is None else descriptor(root.parent / "signature", signature),
        )  # fmt: skip


@pytest.fixture
def verdict(tmp_path: Path) -> Any:
    """`verdict(files, signature)` is what the stage says of them."""

    def say(files: bytes | Mapping[str, bytes], signature: bytes | None, **how: Any) -> StageVerdict:
        with subject_of(files, signature, tmp_path, **how) as subject:
            return Provenance().examine(subject)

    return say


def trust(text: str, name: str = "Ann") -> str:
    """Trust a key; gives its fingerprint."""
    return trusted.add_key(name=name, text=text, actor="user:1").fingerprint


def laid_out(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files as their owner has them."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


# --- nothing, or a signature that counts -------------------------------------------------------------


def test_a_model_without_a_signature_passes_as_unsigned(verdict: Any) -> None:
    said = verdict(DATA, None)
    assert said.verdict == "pass"
    assert said.reason.startswith("Unsigned")
    assert said.evidence == {
        "signed": False, "signer": None, "pinned": False, "source": "local", "license": None,
    }  # fmt: skip


def test_a_minisign_signature_by_a_trusted_key_is_shown_with_its_signer(verdict: Any) -> None:
    owner = Minisign()
    fingerprint = trust(owner.public())
    said = verdict(DATA, owner.sign(DATA), required=True)
    assert (said.verdict, said.evidence["signed"]) == ("pass", True)
    assert said.evidence["signer"] == {"name": "Ann", "kind": "minisign", "fingerprint": fingerprint}
    assert "Ann" in said.reason


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_a_minisign_file_may_end_its_lines_as_it_likes(verdict: Any, ending: str) -> None:
    owner = Minisign()
    trust(owner.public())
    raw = owner.sign(DATA)
    raw = raw.rstrip(b"\n") if not ending else raw.replace(b"\n", ending.encode())
    assert verdict(DATA, raw).evidence["signed"]


def test_a_legacy_minisign_signature_of_a_small_file_counts(verdict: Any) -> None:
    owner = Minisign()
    trust(owner.public())
    assert verdict(DATA, owner.sign(DATA, legacy=True)).evidence["signed"]


# Key and signatures of the file `test` that the README and the tests of the minisign-verify crate publish.
PUBLISHED_KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
PUBLISHED = {
    "prehashed": (
        "RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=",
        "timestamp:1633700835\tfile:test\tprehashed",
        "wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==",
    ),
    "legacy": (
        "RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=",
        "timestamp:1555779966\tfile:test",
        "QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==",
    ),
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_signatures_of_the_real_minisign_count(verdict: Any, kind: str) -> None:
    trust(PUBLISHED_KEY)
    signature, comment, comment_signature = PUBLISHED[kind]
    raw = f"untrusted comment: x\n{signature}\ntrusted comment: {comment}\n{comment_signature}\n".encode()
    assert verdict(b"test", raw).evidence["signed"]
    assert verdict(b"Test", raw).verdict == "refuse"


def test_a_set_is_signed_by_its_list_of_digests(verdict: Any) -> None:
    owner = Minisign()
    trust(owner.public())
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(SET.items()))
    assert verdict(SET, owner.sign(lines.encode())).evidence["signed"]
    other = {**SET, "vae/model.safetensors": b"swapped"}
    assert verdict(other, owner.sign(lines.encode())).verdict == "refuse"


@pytest.mark.parametrize("form", [bytes, lambda raw: base64.b64encode(raw) + b"\n"], ids=["bytes", "base64"])
def test_a_bare_ed25519_signature_counts(verdict: Any, form: Any) -> None:
    owner = Ed25519PrivateKey.generate()
    trust(Elliptic().public(), "another kind")
    trust(pem_of(owner))
    assert verdict(DATA, form(owner.sign(DATA))).evidence["signer"]["name"] == "Ann"


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_a_model_signing_bundle_counts(verdict: Any, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    owner = Elliptic(ec.generate_private_key(curve))
    trust(Elliptic().public(), "somebody else")
    fingerprint = trust(owner.public())
    original = tmp_path / "their model.gguf"
    original.write_bytes(DATA)
    said = verdict(DATA, owner.sign(original, tmp_path), required=True)
    assert said.verdict == "pass", said.reason
    assert said.evidence["signer"] == {"name": "Ann", "kind": "pem", "fingerprint": fingerprint}


def test_a_bundle_counts_for_a_set_whatever_its_folder_was_called(verdict: Any, tmp_path: Path) -> None:
    owner = Elliptic()
    trust(owner.public())
    signature = owner.sign(laid_out(SET, tmp_path / "theirs"), tmp_path)
    assert verdict(SET, signature).evidence["signed"]


def test_a_bundle_over_a_folder_counts_for_one_file_of_it(verdict: Any, tmp_path: Path) -> None:
    owner = Elliptic()
    trust(owner.public())
    folder = laid_out({"q4.gguf": DATA, "q8.gguf": b"other", "README.md": b"hello"}, tmp_path / "theirs")
    said = verdict(DATA, owner.sign(folder, tmp_path))
    assert (said.verdict, said.evidence["signed"]) == ("pass", True)
    assert "3 files" in said.reason


def test_a_bundle_without_a_hint_is_tried_with_every_key(verdict: Any, tmp_path: Path) -> None:
    owner = Elliptic()
    trust(Elliptic().public(), "somebody else")
    trust(pem_of(Ed25519PrivateKey.generate()), "another kind")
    trust(owner.public())
    (tmp_path / "m").write_bytes(DATA)
    made = json.loads(owner.sign(tmp_path / "m", tmp_path))
    made["verificationMaterial"]["publicKey"] = {}
    assert verdict(DATA, json.dumps(made).encode()).evidence["signer"]["name"] == "Ann"


def test_what_ships_with_secai_is_vouched_for_by_its_digest(verdict: Any) -> None:
    said = verdict(DATA, None, source=next(iter(BUNDLED)), required=True)
    assert (said.verdict, said.evidence["signed"], said.evidence["pinned"]) == ("pass", False, True)


# --- a signature that does not count -----------------------------------------------------------------


def unknown_signatures(folder: Path) -> dict[str, bytes]:
    """Good signatures by keys that nobody trusts."""
    (folder / "m").write_bytes(DATA)
    return {
        "minisign": Minisign().sign(DATA),
        "bare": Ed25519PrivateKey.generate().sign(DATA),
        "bundle": Elliptic().sign(folder / "m", folder),
    }


@pytest.mark.parametrize("kind", ["minisign", "bare", "bundle"])
def test_an_unknown_signer_passes_as_unsigned_unless_a_signature_is_required(
    verdict: Any, tmp_path: Path, kind: str
) -> None:
    trust(Minisign().public(), "one")
    trust(Elliptic().public(), "two")
    trust(pem_of(Ed25519PrivateKey.generate()), "three")
    signature = unknown_signatures(tmp_path)[kind]
    said = verdict(DATA, signature)
    assert (said.verdict, said.evidence["signed"], said.evidence["signer"]) == ("pass", False, None)
    assert "does not trust" in said.reason
    strict = verdict(DATA, signature, required=True)
    assert strict.verdict == "refuse"
    assert "operator can add it" in strict.reason


def test_without_a_signature_a_strict_policy_refuses_and_says_what_to_do(verdict: Any) -> None:
    said = verdict(DATA, None, required=True)
    assert said.verdict == "refuse"
    assert "It is unsigned" in said.reason
    assert "scan the model again" in said.reason


def test_a_removed_key_is_trusted_no_longer(verdict: Any) -> None:
    owner = Minisign()
    trust(owner.public())
    trusted.remove_key(key=trusted.trusted_keys()[0], actor="user:1")
    assert not verdict(DATA, owner.sign(DATA)).evidence["signed"]


def test_a_signature_of_an_online_identity_counts_as_none(verdict: Any, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(DATA)
    made = json.loads(Elliptic().sign(tmp_path / "m", tmp_path))
    del made["verificationMaterial"]["publicKey"]
    made["verificationMaterial"]["certificate"] = {"rawBytes": base64.b64encode(b"0").decode()}
    said = verdict(DATA, json.dumps(made).encode())
    assert (said.verdict, said.evidence["signed"]) == ("pass", False)
    assert "online identity" in said.reason


def test_a_bundle_over_shards_counts_as_none(verdict: Any, tmp_path: Path) -> None:
    owner = Elliptic()
    trust(owner.public())
    (tmp_path / "m").write_bytes(DATA)
    said = verdict(DATA, owner.sign(tmp_path / "m", tmp_path, shards=True))
    assert (said.verdict, said.evidence["signed"]) == ("pass", False)
    assert "SHA-256 of each file" in said.reason


def test_a_signature_over_a_whole_large_file_is_not_read_into_memory(
    verdict: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached, "MAX_WHOLE", len(DATA) - 1)
    owner, bare = Minisign(), Ed25519PrivateKey.generate()
    trust(owner.public())
    trust(pem_of(bare), "bare")
    for signature in (owner.sign(DATA, legacy=True), bare.sign(DATA)):
        said = verdict(DATA, signature)
        assert (said.verdict, said.evidence["signed"]) == ("pass", False)
        assert "64 MiB" in said.reason
    assert verdict(DATA, owner.sign(DATA)).evidence["signed"]


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_a_trusted_signature_over_other_bytes_is_refused(verdict: Any, legacy: bool) -> None:
    owner = Minisign()
    trust(owner.public())
    said = verdict(DATA + b"!", owner.sign(DATA, legacy=legacy))
    assert (said.verdict, said.evidence["signed"], said.evidence["signer"]) == ("refuse", False, None)
    assert "not valid for these bytes" in said.reason


def test_another_key_under_a_trusted_key_id_is_refused(verdict: Any) -> None:
    owner = Minisign()
    trust(owner.public())
    assert verdict(DATA, Minisign(key_id=owner.key_id).sign(DATA)).verdict == "refuse"


def test_a_changed_trusted_comment_is_refused(verdict: Any) -> None:
    owner = Minisign()
    trust(owner.public())
    raw = owner.sign(DATA, comment="file:a").replace(b"file:a", b"file:b")
    assert verdict(DATA, raw).verdict == "refuse"


def test_a_bundle_over_other_bytes_is_refused(verdict: Any, tmp_path: Path) -> None:
    owner = Elliptic()
    trust(owner.public())
    (tmp_path / "m").write_bytes(DATA)
    said = verdict(DATA + b"!", owner.sign(tmp_path / "m", tmp_path))
    assert (said.verdict, said.evidence["signed"]) == ("refuse", False)
    assert "not among those that were signed" in said.reason


def test_a_bundle_whose_statement_was_changed_is_refused(verdict: Any, tmp_path: Path) -> None:
    owner = Elliptic()
    trust(owner.public())
    (tmp_path / "m").write_bytes(DATA)
    made = json.loads(owner.sign(tmp_path / "m", tmp_path))
    payload = base64.b64decode(made["dsseEnvelope"]["payload"])
    other = hashlib.sha256(DATA + b"!").hexdigest().encode()
    payload = payload.replace(hashlib.sha256(DATA).hexdigest().encode(), other)
    made["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    said = verdict(DATA + b"!", json.dumps(made).encode())
    assert said.verdict == "refuse"
    assert "not valid for these bytes" in said.reason


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"unet/model.safetensors": b"other"}, "was changed"),
        ({"extra.json": b"{}"}, "was not signed"),
        ({"unet/model.safetensors": None}, "is missing"),
    ],
    ids=["changed", "added", "missing"],
)
def test_a_set_that_is_not_the_signed_one_is_refused(
    verdict: Any, tmp_path: Path, change: dict[str, bytes | None], word: str
) -> None:
    owner = Elliptic()
    trust(owner.public())
    signature = owner.sign(laid_out(SET, tmp_path / "theirs"), tmp_path)
    files = {name: data for name, data in {**SET, **change}.items() if data is not None}
    said = verdict(files, signature)
    assert said.verdict == "refuse"
    assert word in said.reason
    assert next(iter(change)) in said.reason


MALFORMED = {
    "empty": b"",
    "text": b"signed, trust me\n",
    "63 bytes": b"\xff" * 63,
    "too long": b"{" + b" " * (1 << 20),
    "long comment": b"untrusted comment: " + b"a" * 5000 + b"\n",
    "one line": b"untrusted comment: x\n",
    "no base64": b"untrusted comment: x\n????\ntrusted comment: y\n????\n",
    "no text": b"untrusted comment: \xff\n",
    "other algorithm": b"untrusted comment: x\n%s\ntrusted comment: y\n%s\n"
    % (base64.b64encode(b"XX" + bytes(72)), base64.b64encode(bytes(64))),
    "short signature": b"untrusted comment: x\n%s\ntrusted comment: y\n%s\n"
    % (base64.b64encode(b"ED" + bytes(70)), base64.b64encode(bytes(64))),
    "bare brace": b"{",
    "empty bundle": b"{}",
    "nested": b'{"a":' * 100_000,
    "numbers": b'{"mediaType": 1, "verificationMaterial": 2, "dsseEnvelope": 3}',
    "no signatures": b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":'
    b'{"publicKey":{"hint":"x"}},"dsseEnvelope":{"payload":"","payloadType":"x","signatures":[]}}',
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_signature_is_refused(verdict: Any, name: str) -> None:
    trust(Elliptic().public())
    said = verdict(DATA, MALFORMED[name])
    assert (said.verdict, said.evidence["signed"]) == ("refuse", False)
    assert "cannot be read" in said.reason


def test_a_signed_statement_about_something_else_is_refused(
    verdict: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Elliptic()
    trust(owner.public())
    (tmp_path / "m").write_bytes(DATA)
    monkeypatch.setattr("model_signing._signing.signing._PREDICATE_TYPE", "https://example.org/other")
    said = verdict(DATA, owner.sign(tmp_path / "m", tmp_path))
    assert (said.verdict, said.evidence["signed"]) == ("refuse", False)


def test_a_file_that_changes_under_its_signature_is_refused(tmp_path: Path) -> None:
    owner = Minisign()
    trust(owner.public())
    with subject_of(DATA, owner.sign(DATA), tmp_path) as subject:
        subject.files = (replace(subject.files[0], sha256="0" * 64),)
        said = Provenance().examine(subject)
    assert (said.verdict, said.evidence["signed"]) == ("refuse", False)
    assert "changed" in said.reason


@pytest.mark.parametrize(
    "module", ["no.such.module", "json.tool"], ids=["a child that dies", "a child that says nonsense"]
)
def test_where_a_bundle_cannot_be_checked_nothing_passes(
    verdict: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    owner = Elliptic()
    trust(owner.public())
    (tmp_path / "m").write_bytes(DATA)
    signature = owner.sign(tmp_path / "m", tmp_path)
    monkeypatch.setattr(bundle, "PROCESS", module)
    assert verdict(DATA, signature).verdict == "inconclusive"


def test_the_child_that_reads_bundles_reads_one_folder_only(tmp_path: Path) -> None:
    owner, folder = Elliptic(), tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "m").write_bytes(DATA)
    (folder / "model.sig").write_bytes(owner.sign(tmp_path / "m", tmp_path))
    (folder / "0.pem").write_text(owner.public())

    def ask() -> Outcome:
        with (tmp_path / "m").open("rb") as stdin:
            command = python_child(bundle.PROCESS, str(folder), "1")
            return run_child(command, stdin=stdin.fileno(), seconds=20, most=100_000)

    inside = ask()
    assert (inside.end, json.loads(inside.output)["outcome"]) == ("well", "signed")
    (folder / "0.pem").rename(tmp_path / "outside.pem")
    (folder / "0.pem").symlink_to(tmp_path / "outside.pem")
    assert ask() == Outcome(b"", "crashed")


def test_progress_is_told_while_the_file_is_read(tmp_path: Path) -> None:
    owner = Minisign()
    trust(owner.public())
    told: list[float] = []
    with subject_of(DATA, owner.sign(DATA), tmp_path) as subject:
        subject.progress = told.append
        assert Provenance().examine(subject).evidence["signed"]
    assert told[-1] == 1.0
