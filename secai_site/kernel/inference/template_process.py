"""The child that renders chat templates: run as a script, stdlib and jinja2 only, nothing of ours.

A model's template is a program from a stranger. Jinja's sandbox keeps it from Python's objects, but not
from eating memory and time, so this process may do nothing but think: no new files, no children, little
memory, and its parent kills it when it takes too long. Frames on stdin and stdout are a length of 4 bytes,
big endian, and JSON.
"""

import ctypes
import datetime
import functools
import json
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO, NoReturn

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 512 * 1024 * 1024
CPU_SECONDS = 5  # per rendering; the parent's deadline of 2 s of wall clock comes first
MAX_INPUT = 32 * 1024 * 1024
MAX_OUTPUT = 4 * 1024 * 1024
PR_SET_PDEATHSIG = 1


class GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}`, which marks assistant text for training: here its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Give the body of the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class OutputSizeError(Exception):
    """The rendering exceeds `MAX_OUTPUT` characters."""


def refuse(message: str) -> NoReturn:
    """`raise_exception` of the templates: the conversation has a form that the model does not take."""
    raise TemplateError(str(message)[:500])


def to_json(value: Any, **options: Any) -> str:
    """`tojson` as chat templates mean it: plain JSON, not escaped for HTML."""
    allowed = {key: options[key] for key in ("indent", "separators", "sort_keys") if key in options}
    return json.dumps(value, ensure_ascii=bool(options.get("ensure_ascii")), **allowed)


def now(form: str) -> str:
    """`strftime_now` of the templates: the local date."""
    return datetime.datetime.now().astimezone().strftime(form)


def from_json(text: str | bytes) -> Any:
    """`from_json` of the templates: what a tool call's arguments say."""
    return json.loads(text)


def environment(kind: type[ImmutableSandboxedEnvironment] = ImmutableSandboxedEnvironment) -> Any:
    """A sandbox with the filters and globals that chat templates expect."""
    made = kind(
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # the output is a prompt, not a page
        extensions=[LoopControlExtension, GenerationTag],
    )
    made.filters["tojson"] = to_json
    made.filters["from_json"] = from_json
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = now
    return made


@functools.lru_cache(maxsize=16)
def compiled(source: str) -> Any:
    """The template, compiled in the sandbox."""
    return environment().from_string(source)


def render(source: str, variables: dict[str, Any]) -> str:
    """Render with a cap on the output; raises `OutputSizeError`, or whatever the template runs into."""
    pieces: list[str] = []
    size = 0
    for piece in compiled(source).generate(**variables):
        size += len(piece)
        if size > MAX_OUTPUT:
            raise OutputSizeError
        pieces.append(piece)
    return "".join(pieces)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Render each set of variables: `{"texts": […]}`, or `{"error": sentence, "kind": …}`."""
    try:
        return {"texts": [render(request["template"], variables) for variables in request["variables"]]}
    except OutputSizeError:
        return {"kind": "size", "error": "the template writes too much"}
    except MemoryError:
        return {"kind": "memory", "error": "the template takes too much memory"}
    except TemplateError as error:
        return {"kind": "template", "error": str(error)[:500]}
    except Exception as error:  # a template can run into any error of Python's
        return {"kind": "template", "error": f"{type(error).__name__}: {error}"[:500]}


def confine() -> None:
    """Give up files, children, cores and memory; end with the parent."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 3),
    ):
        resource.setrlimit(limit, (value, value))


def allow_cpu() -> None:
    """Grant the next rendering its seconds; the kernel ends the process when they are used up."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent + CPU_SECONDS, resource.RLIM_INFINITY))


def read_frame(stream: BinaryIO) -> dict[str, Any] | None:
    """The next request; None at the end, or when the parent sends too much."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (size,) = struct.unpack(">I", head)
    if size > MAX_INPUT:
        return None
    frame: dict[str, Any] = json.loads(stream.read(size))
    return frame


def write_frame(stream: BinaryIO, frame: dict[str, Any]) -> None:
    """Send an answer; a lone surrogate from the template travels as an escape."""
    data = json.dumps(frame).encode()
    stream.write(struct.pack(">I", len(data)) + data)
    stream.flush()


def warm_up() -> None:
    """Import what a rendering needs while files can still be opened."""
    sample = "{% for m in messages %}{% if loop.first %}{{ m | tojson }}{% endif %}{% endfor %}"
    render(sample + "{{ strftime_now('%d %B %Y') }}", {"messages": [{"content": "x"}]})
    try:
        compiled("{% broken")
    except TemplateError as error:
        str(error)


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    sys.set_int_max_str_digits(4300)
    warm_up()
    confine()
    while (request := read_frame(sys.stdin.buffer)) is not None:
        allow_cpu()
        try:
            reply = answer(request)
            write_frame(sys.stdout.buffer, reply)
        except MemoryError:
            write_frame(sys.stdout.buffer, {"kind": "memory", "error": "the template takes too much memory"})


if __name__ == "__main__":
    main()
