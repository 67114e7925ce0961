"""Text out of hostile files, made fit to be shown: short, on one line, nothing invisible in it. Pure."""

import unicodedata

# Cc, Cf (bidi, zero-width, tags), Cs, Co, Cn, and the line and paragraph separators
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: str, limit: int) -> str:
    """`text` with each unprintable character written as its escape, at most `limit` characters long."""
    shown = "".join(map(_visible, text[: limit + 1]))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _visible(character: str) -> str:
    """By hand: Python's codec for it is a file, which a confined process cannot load any more."""
    if unicodedata.category(character) not in HIDDEN:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"
