"""What a template is written with: size and characters, before anything parses it. Pure.

Look-alikes after Unicode TR 39 (mixed scripts in one word) in the small: the scripts whose letters pass for Latin.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from registry.quarantine.templates.finding import Finding, quoted
from registry.quarantine.templates.vocabulary import MARKER

MAX_BYTES: Final = 256 * 1024
MAX_LINE: Final = 32 * 1024
ALLOWED_CONTROLS: Final = "\n\r\t"
INVISIBLE: Final = {
    "Cc": "a control character", "Cf": "an invisible formatting character", "Cs": "half a character",
    "Co": "a private character that has no meaning", "Cn": "a character that does not exist",
    "Zl": "a line separator", "Zp": "a paragraph separator",
}  # fmt: skip
# Variation selectors, combining grapheme joiner, Hangul and Braille blanks, Mongolian selectors: seen as nothing.
BLANKS: Final = re.compile(
    "[\ufe00-\ufe0f\U000e0100-\U000e01ef\u034f\u115f\u1160\u3164\uffa0\u2800\u180b-\u180f]"
)
LOOKALIKE_SCRIPTS: Final = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "DESERET")
LETTERS: Final = re.compile(r"[^\W\d_]+")
# Escapes inside string literals become characters when the template is parsed; the parsed text is checked as well.


def check_source(source: str) -> Iterator[Finding]:
    """Size and characters of the template as it stands in the file, comments included."""
    size = len(source.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        yield Finding(
            "template.size",
            f"The template is {size:,} bytes long; ordinary ones take less than {MAX_BYTES:,}.",
        )
        return
    yield from check_text(source)


def check_text(text: str, line: int = 1) -> Iterator[Finding]:
    """Characters that hide or disguise something; the first of each kind."""
    for check in (_hidden, _blank, _disguised, _mixed, _foreign_marker):
        found = check(text)
        if found is not None:
            position, code, sentence = found
            yield Finding(code, sentence, line + text.count("\n", 0, position))


def _hidden(text: str) -> tuple[int, str, str] | None:
    for position, character in enumerate(text):
        if character.isascii() and character.isprintable():
            continue
        category = unicodedata.category(character)
        if category in INVISIBLE and character not in ALLOWED_CONTROLS:
            shown = f"{INVISIBLE[category]} (U+{ord(character):04X})"
            return (
                position,
                "template.hidden_character",
                f"The template contains {shown}, which can hide text.",
            )
    return None


def _blank(text: str) -> tuple[int, str, str] | None:
    found = BLANKS.search(text)
    if found is None:
        return None
    shown = f"U+{ord(found[0]):04X}"
    return (
        found.start(), "template.hidden_character",
        f"The template contains a character that shows as nothing ({shown}), which can hide text.",
    )  # fmt: skip


def _disguised(text: str) -> tuple[int, str, str] | None:
    """Letters that are another drawing of a Latin one: fullwidth, mathematical, circled."""
    for position, character in enumerate(text):
        if character.isascii() or not character.isalpha():
            continue
        folded = unicodedata.normalize("NFKC", character)
        if folded.isascii() and character not in "ªº":
            return position, "template.lookalike", _sentence(text[position : position + 20])
    return None


def _mixed(text: str) -> tuple[int, str, str] | None:
    for word in LETTERS.finditer(text):
        if not word[0].isascii() and _foreign(word[0]) and any(map(_is_latin, word[0])):
            return word.start(), "template.lookalike", _sentence(word[0])
    return None


def _foreign_marker(text: str) -> tuple[int, str, str] | None:
    for marker in MARKER.finditer(text):
        if not marker[0].isascii() and _foreign(marker[0]):
            return marker.start(), "template.lookalike", _sentence(marker[0])
    return None


def _foreign(word: str) -> bool:
    return any(unicodedata.name(c, "").startswith(LOOKALIKE_SCRIPTS) for c in word if not c.isascii())


def _is_latin(character: str) -> bool:
    return character.isascii() or unicodedata.name(character, "").startswith("LATIN")


def _sentence(shown: str) -> str:
    return f"The template contains {quoted(shown)}, whose letters only look like ordinary ones."
