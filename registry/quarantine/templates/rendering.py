"""Renders an examined template on conversations of ours, with a clock of ours, within limits of time and size."""

import datetime
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from jinja2.exceptions import SecurityError, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from registry.quarantine.templates.conversations import Message
from registry.quarantine.templates.finding import Finding, quoted
from registry.quarantine.templates.grammar import FILTERS, TESTS
from secai_site.kernel.inference.template_process import environment

RENDER_SECONDS: Final = 0.2  # of processor time; ordinary renderings take 0.1 to 5 ms
COMPILE_SECONDS: Final = 1.0  # ordinary templates take 2 to 60 ms
REVIEW_SECONDS: Final = 1.2  # for all renderings of one template together; ordinary ones take 0.02 to 0.35 s
MAX_OUTPUT: Final = 1 << 20  # characters; the conversations are far shorter
MAX_REPEATED: Final = 1 << 16
TODAY: Final = datetime.datetime(2026, 7, 26, 11, 45, tzinfo=datetime.UTC)


class TemplateRefusal(TemplateError):
    """The template itself refuses the conversation, by `raise_exception`."""


class TemplateFault(Exception):
    """The template cannot be rendered; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding


class _OutOfTime(BaseException):
    """No `Exception`: nothing on the way may catch it."""


class GuardedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, with operators that neither format texts nor make long ones."""

    intercepted_binops = frozenset({"*", "%", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Only numbers of ordinary size, and short texts repeated."""
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "*" and not numbers:
            length = len(left) if hasattr(left, "__len__") else len(right)
            times = right if isinstance(right, int) else left
            if not isinstance(times, int) or length * times > MAX_REPEATED:
                raise SecurityError("it repeats a text very often")
        elif not numbers or abs(left) > MAX_REPEATED or abs(right) > MAX_REPEATED:
            raise SecurityError("it computes with something that is no ordinary number")
        return super().call_binop(context, operator, left, right)


@dataclass(frozen=True, slots=True)
class Rendering:
    """`text` as rendered; `dates`: what `strftime_now` answered on the way."""

    text: str
    dates: tuple[str, ...]


class CanaryRenderer:
    """One compiled template; raises `TemplateFault` when it does not even compile."""

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        self._tokens = dict(tokens)
        self._clock = TODAY
        self._dates: list[str] = []
        self._left = REVIEW_SECONDS
        signal.signal(signal.SIGPROF, _interrupt)
        self._template = self._within_limits(lambda: self._environment().from_string(source), COMPILE_SECONDS)

    def render(
        self,
        messages: Sequence[Message],
        *,
        prompt: bool = True,
        clock: datetime.datetime = TODAY,
        **variables: Any,
    ) -> Rendering:
        """Render as the engine does; `prompt`: ask for the next answer.

        Raises `TemplateRefusal` where the template refuses the conversation, `TemplateFault` for everything else.
        """
        self._clock, self._dates = clock, []
        given = {**self._tokens, **variables, "messages": [dict(m) for m in messages]}
        text = self._within_limits(
            lambda: self._write({**given, "add_generation_prompt": prompt}), RENDER_SECONDS
        )
        return Rendering(text, tuple(self._dates))

    def _environment(self) -> Any:
        made = environment(GuardedEnvironment)
        made.filters = {name: made.filters[name] for name in FILTERS & set(made.filters)}
        made.tests = {name: made.tests[name] for name in TESTS & set(made.tests)}
        keep = ("namespace", "range", "dict")
        made.globals = {name: made.globals[name] for name in keep} | {
            "raise_exception": _refuse, "strftime_now": self._now,
        }  # fmt: skip
        return made

    def _write(self, variables: Mapping[str, Any]) -> str:
        pieces: list[str] = []
        size = 0
        for piece in self._template.generate(**variables):
            size += len(piece)
            if size > MAX_OUTPUT:
                raise TemplateFault(Finding("template.output", "The template writes far too much."))
            pieces.append(piece)
        return "".join(pieces)

    def _now(self, form: str) -> str:
        said = self._clock.strftime(form)
        self._dates.append(said)
        return said

    def _within_limits(self, work: Callable[[], Any], seconds: float) -> Any:
        if self._left <= 0:
            raise TemplateFault(SLOW)
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, min(self._left, seconds))
        try:
            return work()
        except (TemplateRefusal, TemplateFault):
            raise
        except _OutOfTime:
            raise TemplateFault(SLOW) from None
        except MemoryError:
            raise TemplateFault(Finding("template.memory", "The template takes too much memory.")) from None
        except RecursionError:
            raise TemplateFault(
                Finding("template.recursion", "The template calls itself without end.")
            ) from None
        except Exception as error:  # a template can run into any error of Python's
            raise TemplateFault(_broken(error)) from None
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._left -= time.process_time() - began


SLOW: Final = Finding("template.time", "The template takes too long.")


def _broken(error: Exception) -> Finding:
    code = "template.reach" if isinstance(error, SecurityError) else "template.error"
    line = getattr(error, "lineno", 0) or 0
    return Finding(code, f"The template does not work: {quoted(str(error), 200)}.", line)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise _OutOfTime


def _refuse(message: str) -> None:
    raise TemplateRefusal(str(message)[:500])
