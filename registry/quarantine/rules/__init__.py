"""Rules of our own for what has no business in a model file, in the language of YARA.

`anywhere.yar` and `pickles.yar` hold structures that no text and no weights form by chance and are applied to every
byte; `header.yar` is for metadata alone, `weights.yar` for tensors alone: a vocabulary may well have the words of a
script. They are applied by `rules.scanner`, in the confined inspection. Each rule
says in `meaning` what it has found; its first pattern is the one whose place is reported.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
# The longest stretch of bytes that one rule looks at (PE: from MZ to its header); windows overlap by as much.
REACH: Final = 4_096


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that matched: its name and plain meaning, the file of the set ("" for a single file), the byte."""

    rule: str
    meaning: str
    file: str
    offset: int

    @property
    def code(self) -> str:
        """`rules.` and the rule's name."""
        return f"rules.{self.rule}"


def sources() -> dict[str, str]:
    """The text of each file of rules, by its name without the ending, in a fixed order."""
    return {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.yar"))}


def version() -> str:
    """Hex SHA-256 of all rules; another version may judge the same bytes otherwise."""
    digest = hashlib.sha256()
    for name, source in sources().items():
        digest.update(f"{name} {len(source)}\n{source}".encode())
    return digest.hexdigest()
