"""A tokenizer's files: word lists, merges, and the SentencePiece model, which a C++ library parses later.

Their entries are arbitrary pieces of text, so nothing is read into them: that they are whole, of the right
shape and of sane size is all there is to say.
"""

from collections.abc import Callable, Mapping
from typing import Final

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.members import Member
from registry.quarantine.formats.pipeline_json import MAX_ENTRIES, read_bytes, read_document, read_text, wrong

MAX_VOCABULARY: Final = 64 << 20
MAX_MERGES: Final = 4 << 20
MAX_SENTENCEPIECE: Final = 16 << 20
# the largest, mT5's, has 250,100
MAX_PIECES: Final = 300_000
# sentencepiece_model.proto: pieces, trainer_spec, normalizer_spec, self_test_data, denormalizer_spec
FIELDS: Final = range(1, 6)
PIECES: Final = 1
LENGTH_DELIMITED: Final = 2


def check_vocabulary(member: Member) -> None:
    """Check a tokenizer's file by its name; raises `FormatError`."""
    CHECKS[member.path.rpartition("/")[2]](member)


def _check_words(member: Member) -> None:
    """`vocab.json`, `added_tokens.json`: a text to its number."""
    words = read_document(member, MAX_VOCABULARY, MAX_ENTRIES)
    if not all(type(number) is int and 0 <= number < 1 << 31 for number in words.values()):
        raise wrong(member, "must map each piece of text to its number", "pipeline.vocabulary.shape")


def _check_tokenizer(member: Member) -> None:
    """`tokenizer.json` of the tokenizers library."""
    document = read_document(member, MAX_VOCABULARY, MAX_ENTRIES)
    if not isinstance(document.get("model"), dict):
        raise wrong(member, "describes no tokenizer: it has no “model”", "pipeline.vocabulary.shape")


def _check_merges(member: Member) -> None:
    """`merges.txt`: two pieces a line, after an optional line with the version."""
    lines = read_text(member, MAX_MERGES).split("\n")
    if not all(line.count(" ") == 1 for line in lines if line and not line.startswith("#version")):
        raise wrong(member, "must hold two pieces of text a line", "pipeline.vocabulary.shape")


def _check_sentencepiece(member: Member) -> None:
    """`spiece.model`: a protobuf message whose fields tile the file and are those of a SentencePiece model."""
    raw = read_bytes(member, MAX_SENTENCEPIECE)
    offset = pieces = 0
    while offset < len(raw):
        tag, offset = _varint(member, raw, offset)
        length, offset = _varint(member, raw, offset)
        offset += length
        pieces += tag >> 3 == PIECES
        if tag & 7 != LENGTH_DELIMITED or tag >> 3 not in FIELDS or offset > len(raw) or pieces > MAX_PIECES:
            raise _no_sentencepiece(member)
    if not pieces:
        raise _no_sentencepiece(member)


def _varint(member: Member, raw: bytes, offset: int) -> tuple[int, int]:
    """The number at `offset`, at most five bytes long, and where it ends."""
    number = 0
    for place, byte in enumerate(raw[offset : offset + 5]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, offset + place + 1
    raise _no_sentencepiece(member)


def _no_sentencepiece(member: Member) -> FormatError:
    return wrong(member, "is no SentencePiece model", "pipeline.vocabulary.sentencepiece")


CHECKS: Final[Mapping[str, Callable[[Member], None]]] = {
    "vocab.json": _check_words,
    "added_tokens.json": _check_words,
    "tokenizer.json": _check_tokenizer,
    "merges.txt": _check_merges,
    "spiece.model": _check_sentencepiece,
}
