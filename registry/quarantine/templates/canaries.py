"""Does the template carry what people say, all of it, and behave the same whatever they say?

Each conversation is rendered and its messages masked; what is left is the template's own text. That text must not
depend on what is said, on the date, or on how long the conversation has lasted.
"""

import datetime
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from registry.quarantine.templates.conversations import (
    DRESSES,
    TOOLS,
    Message,
    Shape,
    contents,
    conversation,
    turns,
)
from registry.quarantine.templates.finding import Finding, quoted
from registry.quarantine.templates.insertions import prose
from registry.quarantine.templates.masks import SYSTEM_DROPPED, dateless, mask, unsaid
from registry.quarantine.templates.rendering import (
    TODAY,
    CanaryRenderer,
    Rendering,
    TemplateFault,
    TemplateRefusal,
)
from registry.quarantine.templates.triggers import MOST_NUMBER
from registry.quarantine.templates.vocabulary import SWITCHES, is_markup, own_words

# Without a system message every template has to take these; the last message is the user's, as the engine asks.
ORDINARY: Final[tuple[Shape, ...]] = ("u", "uau", "uauau")
SHAPES: Final[tuple[Shape, ...]] = (*ORDINARY, "su", "suau", "suauau", turns(7), turns(7, system=True))
OPEN: Final[tuple[Shape, ...]] = ("ua", "sua", "uaua")  # rendered without asking for an answer
LENGTHS: Final = (*range(2, 16), 21, 33, 80)  # questions
STEADY: Final = 4  # questions from which on the middle of a conversation has to look alike
DATES: Final = tuple(
    datetime.datetime(*day, hour, 30, tzinfo=datetime.UTC)
    for day, hour in (
        ((2023, 10, 11), 9), ((2024, 2, 29), 0), ((2025, 12, 25), 23), ((2026, 8, 1), 13), ((2027, 1, 1), 6),
        ((2030, 6, 17), 17), ((2038, 11, 22), 3),
    )
)  # fmt: skip
MAX_LITERALS: Final = 100  # the rest is judged by reading alone
PLACES: Final = re.compile("⟦[^⟧]*⟧")


@dataclass(slots=True)
class Observed:
    """What the trials showed: masked renderings by shape, and whether one of them could not be made."""

    masked: dict[Shape, str] = field(default_factory=dict)
    dates: set[str] = field(default_factory=set)
    refuses_system: bool = False
    broken: bool = False


class Canaries:
    """The trials of one template, each of which yields what speaks against it."""

    def __init__(self, renderer: CanaryRenderer, seed: str) -> None:
        self._renderer = renderer
        self._seed = seed
        self.observed = Observed()

    def try_all(self, literals: Sequence[str], numbers: Sequence[int]) -> Iterator[Finding]:
        """Everything below, one after another; a fault ends it."""
        try:
            yield from self.try_shapes()
            yield from self.try_dresses()
            yield from self.try_dates()
            yield from self.try_lengths(numbers)
            yield from self.try_literals(literals)
        except TemplateFault as fault:
            self.observed.broken = True
            yield fault.finding

    def try_shapes(self) -> Iterator[Finding]:
        """Every message arrives once, whole and in order; families may refuse a system message, aloud."""
        for shape in (*SHAPES, *OPEN):
            messages = conversation(shape, self._seed)
            try:
                rendering = self._renderer.render(messages, prompt=shape not in OPEN)
            except TemplateRefusal as refusal:
                yield from self._refused(shape, refusal)
                continue
            self.observed.dates |= set(rendering.dates)
            masked = mask(rendering.text, messages)
            if isinstance(masked, str):
                self.observed.masked[shape] = masked
            elif shape not in OPEN or masked != SYSTEM_DROPPED:
                yield masked  # some families say the system message only where an answer is asked for
        yield from self._tells_apart()

    def _tells_apart(self) -> Iterator[Finding]:
        """What introduces a question is not what introduces an answer."""
        gaps = PLACES.split(self.observed.masked.get("uauau", ""))
        if len(gaps) > 3 and gaps[1] == gaps[2]:
            yield Finding("template.roles", "The template does not say who is speaking.")

    def _refused(self, shape: Shape, refusal: TemplateRefusal) -> Iterator[Finding]:
        if "s" in shape:
            self.observed.refuses_system = True
        elif shape not in OPEN:
            yield Finding(
                "template.refuses",
                f"The template refuses an ordinary conversation: {quoted(str(refusal), 200)}.",
            )

    def try_dresses(self) -> Iterator[Finding]:
        """Other words, other scripts, other lengths: the template's own text stays the same."""
        for shape in ("u", "uauau", "suau"):
            if shape in self.observed.masked:
                for number, dress in enumerate(DRESSES):
                    yield from self._same(shape, conversation(shape, f"{self._seed}/{number}", dress))
        yield from self._try_empty()

    def _same(self, shape: Shape, messages: Sequence[Message]) -> Iterator[Finding]:
        expected, masked = self.observed.masked[shape], self._masked(messages)
        if isinstance(masked, Finding):
            yield masked
        elif masked is None:
            yield Finding(
                "template.trigger.refuses", "The template refuses messages because of what they say."
            )
        elif masked != expected:
            yield _depends("on what the messages say", expected, masked)

    def _try_empty(self) -> Iterator[Finding]:
        """An empty or blank message brings no sentences along."""
        usual = set(_lines(self.observed.masked.get("uau", ""), self.observed.dates))
        for content in ("", " \n "):
            messages = conversation("uau", self._seed)
            messages[1]["content"] = content
            rendering = self._render(messages)
            own = prose(unsaid(rendering.text, messages), rendering.dates) if rendering else ""
            if set(own.splitlines()) - usual:
                yield Finding(
                    "template.trigger.empty", "The template adds text of its own to an empty message."
                )

    def try_dates(self) -> Iterator[Finding]:
        """Another day changes the date in the text, and nothing else."""
        for shape in ("u", "suau"):
            messages = conversation(shape, self._seed)
            renderings = [self._render(messages, day) for day in DATES]
            if len({dateless(rendering) if rendering else None for rendering in renderings}) > 1:
                yield Finding("template.trigger.date", "The template behaves differently on certain dates.")

    def try_lengths(self, numbers: Sequence[int]) -> Iterator[Finding]:
        """The tenth turn looks like the third; the numbers that the template compares with are tried as lengths."""
        extra = {n + d for number in numbers if 2 < (n := abs(number)) <= MOST_NUMBER for d in (0, 1, 2)}
        lengths = sorted({*LENGTHS, *extra, *((n + 1) // 2 for n in extra)})
        for system in (False, True) if "su" in self.observed.masked else (False,):
            expected: tuple[str, ...] = ()
            for count in lengths:
                masked = self._masked(conversation(turns(count, system=system), self._seed))
                if not isinstance(masked, str):
                    yield masked or Finding(
                        "template.refuses", f"The template refuses a conversation of {count} questions."
                    )
                    break
                found = _rhythm(masked, system=system) if count >= STEADY else ()
                expected = expected or found
                if found != expected:
                    yield _depends(_length(count), "".join(expected), "".join(found))
                    break
                yield from self._same_sentences(masked, count, system=system)

    def _same_sentences(self, masked: str, count: int, *, system: bool) -> Iterator[Finding]:
        usual = set(_lines(self.observed.masked.get("su" if system else "u", ""), self.observed.dates))
        added = set(_lines(masked, self.observed.dates)) ^ usual
        if added:
            yield _depends(_length(count), "", min(added))

    def try_literals(self, literals: Sequence[str]) -> Iterator[Finding]:
        """Each text that the template compares anything with is said to it, in every role and place."""
        for literal in literals[:MAX_LITERALS]:
            tried = (self._try_literal(literal, shape, pattern) for shape, pattern in PATTERNS)
            yield from itertools.islice((finding for finding in tried if finding is not None), 1)

    def _try_literal(self, literal: str, shape: Shape, pattern: Sequence[str]) -> Finding | None:
        before = conversation(shape, self._seed)
        after = [
            {**message, "content": form.format(message["content"], literal)}
            for message, form in zip(before, pattern, strict=True)
        ]
        if shape not in self.observed.masked or not all(content.strip() for content in contents(after)):
            return None
        rendering = self._render(after)
        if rendering is None and is_markup(literal):
            return None  # some families take no markers inside messages, and say so
        if rendering is None:
            return Finding(
                "template.trigger.refuses", f"The template refuses messages that contain {quoted(literal)}."
            )
        if mask(rendering.text, after) == self.observed.masked[shape]:
            return None
        expected = self._own_words(shape) + _said(after)
        found = Counter(own_words(rendering.text))
        said = " ".join(contents(after))
        added = Counter({word: n for word, n in (found - expected).items() if word not in said.lower()})
        return self._added(literal, added) or _lost(literal, expected - found, after)

    def _own_words(self, shape: Shape) -> Counter[str]:
        """The words that the template adds to a conversation of that shape anyway."""
        return Counter(own_words(PLACES.sub(" ", self.observed.masked[shape])))

    def _added(self, literal: str, added: Counter[str]) -> Finding | None:
        by_default = literal.strip() in SWITCHES and set(added) <= set(self._own_words("u"))
        if not added or by_default:
            return None
        return Finding(
            "template.trigger.adds",
            f"The template adds text of its own ({quoted(' '.join(added))}) when a message contains "
            f"{quoted(literal)}.",
        )

    def text_about_tools(self) -> str:
        """What the template says only when a tool is on offer; raises `TemplateFault`."""
        messages = conversation("u", self._seed)
        try:
            rendering = self._renderer.render(messages, tools=TOOLS)
        except TemplateRefusal:
            return ""
        usual = set(_lines(self.observed.masked.get("u", ""), self.observed.dates))
        said = _lines(unsaid(rendering.text, messages), rendering.dates)
        return "\n".join(line for line in said if line not in usual)

    def _render(self, messages: Sequence[Message], clock: datetime.datetime = TODAY) -> Rendering | None:
        try:
            return self._renderer.render(messages, clock=clock)
        except TemplateRefusal:
            return None

    def _masked(self, messages: Sequence[Message]) -> str | Finding | None:
        try:
            return mask(self._renderer.render(messages).text, messages)
        except TemplateRefusal:
            return None


# Where a literal is put into the messages of a shape: {0} is what the message says anyway.
PATTERNS: Final = (
    ("u", ("{1}",)),
    ("u", ("{0} {1} {0}",)),
    ("u", ("{1}\n{0}\n{1}",)),
    ("suau", ("{0} {1} {0}", "{0}", "{0}", "{0}")),
    ("suau", ("{1}", "{1} {0}", "{0} {1}", "{0} {1}")),
    ("uauau", ("{0}", "{1}\n{0}", "{1} {0}", "{0} {1} {0}", "{0}")),
    (turns(7), ("{0}",) * 4 + ("{1}",) + ("{0}",) * 7 + ("{0}\n{1}",)),
)


def _lines(masked: str, dates: Sequence[str] | set[str] = ()) -> list[str]:
    return prose(masked, dates).splitlines()


def _rhythm(masked: str, *, system: bool) -> tuple[str, ...]:
    """What stands before, in the middle of and after a conversation; numbers of messages left out.

    The first and the last pair may look different, so the middle is what the pairs between have in common.
    """
    masked = masked.replace("⟦s⟧", "⟨system⟩")
    gaps = [piece.split("⟧", 1)[-1] for piece in masked.split("⟦")]
    answers, questions = gaps[1:-1:2], gaps[2:-1:2]
    ends = (gaps[0], gaps[-1]) if not system else (gaps[0].replace("⟨system⟩", ""), "")
    return (*ends, *sorted(set(answers[1:-1])), *sorted(set(questions[1:-1])))


def _said(messages: Sequence[Message]) -> Counter[str]:
    return Counter(word for content in contents(messages) for word in own_words(content))


def _lost(literal: str, missing: Counter[str], messages: Sequence[Message]) -> Finding | None:
    """Markup in an answer may cut it (earlier thoughts are left out); otherwise nothing may get lost."""
    whole = [m for m in messages if m["role"] != "assistant" or not is_markup(literal)]
    if not set(missing) & set(_said(whole)) - set(own_words(literal)):
        return None
    return Finding(
        "template.trigger.drops", f"The template drops text when a message contains {quoted(literal)}."
    )


def _length(count: int) -> str:
    return f"on the conversation's length (at {count} questions)"


def _depends(on: str, expected: str, found: str) -> Finding:
    changed = next((line for line in found.splitlines() if line not in expected.splitlines()), found[-80:])
    return Finding(
        "template.trigger.varies", f"The template's own text depends {on}; it then writes {quoted(changed)}."
    )
