# ruff: noqa: RUF001 - the letters and bars of markers are as they are
"""Which known family a template renders like."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from registry.quarantine.templates.conversations import Shape
from registry.quarantine.templates.families import FAMILIES, Family
from registry.quarantine.templates.insertions import METADATA, prose
from registry.quarantine.templates.vocabulary import MARKER

WITHOUT_SYSTEM: Final[tuple[Shape, ...]] = ("u", "uau", "uauau")
WITH_SYSTEM: Final[tuple[Shape, ...]] = ("su", "suau", "suauau")
FIRST: Final = "⟦0⟧"
MAX_COMPARED: Final = 2_000  # characters; members of a family take 300
MAX_DIFF: Final = 40  # lines
MAX_LINE: Final = 160  # characters

BEGINNING: Final = re.compile(
    r"(?:<s>|<bos>|<\|begin_of_text\|>|<\|startoftext\|>|<｜begin▁of▁sentence｜>|\]~!b\[)\s*"
)
THOUGHTS: Final = re.compile(r"<think>\s*(?:</think>\s*)?|</think>\s*|<think>")
ENDS: Final = re.compile(r"<｜end▁of▁sentence｜>|<\|endoftext\|>|<\|end_of_text\|>|<eos>")
DATE: Final = re.compile(r"\d{1,2} [A-Z][a-z]{2} \d{4}|[A-Z][a-z]+ \d{1,2}, \d{4}|\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Likeness:
    """`family`: the one that it renders like, or None; `nearest` with its `similarity` (0 to 1) in any case; `diff`:
    a unified diff of the rendering against the nearest family's, empty for a member."""

    family: str | None
    nearest: str | None
    similarity: float
    diff: tuple[str, ...]


def compare(masked: Mapping[Shape, str], dates: Iterable[str], *, refuses_system: bool) -> Likeness:
    """Compare masked renderings with those of all families."""
    known = tuple(dates)
    own = {shape: normal(text, known) for shape, text in masked.items()}
    for family in FAMILIES:
        if _is_member(own, masked, family, refuses_system=refuses_system):
            return Likeness(family.name, family.name, 1.0, ())
    shape = next((shape for shape in ("suau", "uau", "u") if shape in own), None)
    if shape is None:
        return Likeness(None, None, 0.0, ())
    return _nearest(own[shape], shape)


def _nearest(own: str, shape: Shape) -> Likeness:
    rendered = [
        (family.name, normal(text)) for family in FAMILIES if (text := family.render(shape)) is not None
    ]
    similarity, name, text = max((_similarity(own, text), name, text) for name, text in rendered)
    diff = difflib.unified_diff(_lines(text), _lines(own), name, "this template", lineterm="", n=1)
    return Likeness(None, name, round(similarity, 3), tuple(line[:MAX_LINE] for line in diff)[:MAX_DIFF])


def _similarity(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one[:MAX_COMPARED], other[:MAX_COMPARED], autojunk=False).ratio()


def _lines(text: str) -> list[str]:
    """One message or gap per line, as diffs are read by people."""
    return [repr(piece)[1:-1] for piece in re.split("(?<=⟧)|(?=⟦)", text) if piece]


def _is_member(
    own: Mapping[Shape, str], masked: Mapping[Shape, str], family: Family, *, refuses_system: bool
) -> bool:
    takes_system = family.system is not None or bool(family.fold)
    if takes_system == refuses_system:
        return False
    if takes_system and not all(
        own.get(shape) == normal(family.render(shape) or "") for shape in WITH_SYSTEM
    ):
        return False
    return all(
        shape in own and _same_without_system(own[shape], masked[shape], family, shape)
        for shape in WITHOUT_SYSTEM
    )


def _same_without_system(own: str, masked: str, family: Family, shape: Shape) -> bool:
    """A default system prompt, or an empty one, which many variants of a family add, is no difference."""
    rendered = family.render(shape) or ""
    if own == normal(rendered):
        return True
    head = masked.partition(FIRST)[0]
    opens = head.endswith(rendered.removeprefix(family.head + family.absent).partition(FIRST)[0])
    has_default = bool(prose(head)) or _begins_with_system(head, family)
    return opens and has_default and own.partition(FIRST)[2] == normal(rendered).partition(FIRST)[2]


def _begins_with_system(head: str, family: Family) -> bool:
    return bool(family.system) and normal(head).startswith(normal((family.system or "").split("{}", 1)[0]))


def normal(text: str, dates: Iterable[str] = ()) -> str:
    """A masked rendering without what varies inside a family."""
    for date in sorted(set(dates), key=len, reverse=True):
        text = text.replace(date, "⟨date⟩") if date.strip() else text
    text = THOUGHTS.sub("", ENDS.sub("</s>", BEGINNING.sub("", text, count=1)))
    text = DATE.sub("⟨date⟩", text)
    return "".join(_without_prose(piece) for piece in re.split(f"({MARKER.pattern}|⟦[^⟧]*⟧)", text))


def _without_prose(piece: str) -> str:
    """Sentences and facts of the session fold away with the blanks around them."""
    kept = [line for line in piece.splitlines() if not _varies(line)]
    return piece if len(kept) == len(piece.splitlines()) else "\n".join(kept).strip()


def _varies(line: str) -> bool:
    return bool(prose(line)) or METADATA.fullmatch(line.strip()) is not None
