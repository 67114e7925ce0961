"""What a pickle would have done, in sentences: fickling reads the program, nothing runs it.

An explanation only: a clever pickle can hide from it, which is why none is ever admitted.
"""

import ast
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pickletools import genops
from typing import Final

from fickling.fickle import OPCODES_BY_NAME, EmptyPickleError, Interpreter, Pickled

from registry.quarantine.plain import plain

MAX_STACKED: Final = 8
MAX_SENTENCES: Final = 20
SHOWN: Final = 200
NAME: Final = 100

# One module under several names: Python 2 and 3, and C implementations.
ALIASES: Final = {
    "posix": "os", "nt": "os", "__builtin__": "builtins", "_io": "io", "_pickle": "pickle", "cPickle": "pickle",
    "_operator": "operator", "urllib2": "urllib", "httplib": "http",
}  # fmt: skip
# By what is called: the sentence. The first that fits is told; an asterisk stands for any ending.
SENTENCES: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.*", "platform.popen"),
     "It would have run the shell command `{what}` through {name}."),
    (("subprocess.*", "os.exec*", "os.spawn*", "os.posix_spawn*", "os.startfile", "pty.spawn", "_posixsubprocess.*"),
     "It would have started the program `{what}` through {name}."),
    (("runpy.run_module", "runpy.run_path", "runpy._run_module_as_main"),
     "It would have run the Python module or file `{what}` through {name}."),
    (("builtins.eval", "builtins.exec", "builtins.compile", "runpy.*", "timeit.*", "cProfile.*", "profile.*", "pdb.*",
      "bdb.*", "code.*", "codeop.*", "doctest.*", "numpy.testing._private.utils.runstring", "types.CodeType",
      "types.FunctionType"),
     "It would have run the Python code `{what}` through {name}."),
    (("builtins.__import__", "importlib.*", "pydoc.locate", "pkgutil.resolve_name"),
     "It would have loaded the Python module `{what}` through {name}."),
    (("os.remove", "os.unlink", "os.rmdir", "os.removedirs", "shutil.rmtree"),
     "It would have deleted `{what}` through {name}."),
    (("builtins.open", "io.open", "io.FileIO", "os.open", "codecs.open", "logging.FileHandler", "shutil.*",
      "tempfile.*"),
     "It would have opened or changed the file `{what}` through {name}."),
    (("socket.*", "ssl.*", "urllib.*", "http.*", "requests.*", "aiohttp.*", "ftplib.*", "smtplib.*", "webbrowser.*",
      "imaplib.*", "poplib.*", "telnetlib.*", "torch.hub.*"),
     "It would have used the network through {name}, with `{what}`."),
    (("pickle.*", "marshal.*", "dill.*", "cloudpickle.*", "joblib.load", "torch.load", "torch.storage._load_from_bytes",
      "numpy.load", "shelve.*"),
     "It would have unpacked and run another program hidden in it, through {name}."),
    (("ctypes.*", "cffi.*"), "It would have called native code of the machine through {name}, with `{what}`."),
    (("os.*", "sys.*", "signal.*", "gc.*", "inspect.*"), "It would have called {name} with `{what}`, inside this box."),
)  # fmt: skip
# What ordinary models and arrays are rebuilt with.
ORDINARY: Final = re.compile(
    r"collections\.(OrderedDict|defaultdict|Counter|deque)"
    r"|builtins\.(set|frozenset|list|dict|tuple|bytearray|bytes|str|int|float|bool|complex|object|slice|range)"
    r"|copy_?reg\.(_reconstructor|__newobj__)|_codecs\.encode|datetime\.\w+|decimal\.Decimal|fractions\.Fraction"
    r"|torch\._utils\._rebuild_\w+|torch\.(_tensor\._rebuild_\w+|\w*Storage|Size|device|dtype|(b?float|u?int|bool)\d*)"
    r"|torch\.storage\.(Typed|Untyped)Storage|torch\.nn\.parameter\.Parameter"
    r"|numpy\.(_?core\.)?(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer|dtype|ndarray)"
)
GETATTR: Final = "builtins.getattr"
IMPORTERS: Final = ("builtins.__import__", "importlib.import_module")
APPLIERS: Final = ("functools.partial", "builtins.apply")
ATTRGETTER: Final = "operator.attrgetter"


@dataclass(frozen=True, slots=True)
class Reading:
    """`sentences`: what it would have done besides rebuilding its data; `whole`: followed to its end."""

    sentences: list[str]
    whole: bool


def read_program(data: bytes) -> Reading:
    """Read the pickles that follow each other in `data`; each sentence once, in their order."""
    told: list[str] = []
    whole = True
    for pickled in stacked(data):
        statements, followed = _statements(pickled)
        told += _Reader().read(statements)
        whole = whole and followed and not pickled.has_invalid_opcode
    return Reading(list(dict.fromkeys(told))[:MAX_SENTENCES], whole)


def stacked(data: bytes) -> Iterator[Pickled]:
    """The pickles that follow each other in `data`, at most `MAX_STACKED`, each as far as fickling can decode it."""
    stream = io.BytesIO(data)
    for _ in range(MAX_STACKED):
        rest = data[stream.tell() :]
        try:
            pickled = Pickled.load(stream, fail_on_decode_error=False)
        except EmptyPickleError:
            return
        except NotImplementedError:  # an opcode that fickling has never heard of; what comes before it counts
            yield Pickled.load(rest[: _known(rest)], fail_on_decode_error=False)
            return
        yield pickled
        if pickled.has_invalid_opcode or len(pickled) == 0:
            return


def _known(data: bytes) -> int:
    """Where the first opcode lies that fickling does not know."""
    return next((at or 0 for opcode, _, at in genops(data) if opcode.name not in OPCODES_BY_NAME), len(data))


def _statements(pickled: Pickled) -> tuple[Sequence[ast.stmt], bool]:
    """What the program does, and whether it ends well: a broken pickle runs up to where it breaks."""
    interpreter = Interpreter(pickled)
    try:
        while True:
            interpreter.step()
    except StopIteration:
        whole = any(opcode.name == "STOP" for opcode in pickled[-1:])
    except Exception:  # fickling meets hostile code here
        whole = False
    return list(interpreter.module_body), whole


@dataclass
class _Reader:
    """Follows which name stands for what. `origins`: imported names; `symbols`: variables that hold a known thing."""

    origins: dict[str, str] = field(default_factory=dict)
    symbols: dict[str, str | None] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)

    def read(self, statements: Sequence[ast.stmt]) -> list[str]:
        """The sentences for these statements."""
        told = []
        for statement in statements:
            match statement:
                case ast.ImportFrom(module=str(module), names=[ast.alias(name=name)]):
                    self.origins[name] = f"{module}.{name}"
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
                    self.symbols[name], sentence = self._call(call)
                    told += [sentence] if sentence else []
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.symbols[name] = self._resolve(value)
                case ast.Expr(value=ast.Call(func=ast.Name()) as call):
                    told += [sentence] if (sentence := self._call(call)[1]) else []
                case _:
                    pass
        return told + self._only_named()

    def _call(self, call: ast.Call) -> tuple[str | None, str | None]:
        """What the call gives, where that is known, and what to say of it."""
        name = self._resolve(call.func)
        arguments = list(call.args)
        if name in APPLIERS and arguments:
            name, arguments = self._resolve(arguments[0]), arguments[1:]
        if name is None:
            return None, _sentence("something that it works out itself", arguments)
        self.called.add(name)
        plainly = _canonical(name)
        if (found := self._looked_up(plainly, arguments)) is not None:
            return found, None
        if name.endswith(".__new__"):
            self.called.add(name.removesuffix(".__new__"))
            return None, _made(name.removesuffix(".__new__"))
        given = _constant(arguments[0]) if plainly in IMPORTERS and arguments else None
        return given, None if ORDINARY.fullmatch(plainly) else _sentence(name, arguments)

    def _looked_up(self, name: str, arguments: list[ast.expr]) -> str | None:
        """The thing that getattr or attrgetter reach, where it can be told."""
        if name == ATTRGETTER and len(arguments) == 1 and (attribute := _constant(arguments[0])):
            return f"{ATTRGETTER}:{attribute}"
        if name.startswith(f"{ATTRGETTER}:") and arguments and (base := self._resolve(arguments[0])):
            return f"{base}.{name.partition(':')[2]}"
        if name == GETATTR and len(arguments) >= 2:
            base, attribute = self._resolve(arguments[0]), _constant(arguments[1])
            return f"{base}.{attribute}" if base and attribute else None
        return None

    def _resolve(self, node: ast.expr) -> str | None:
        match node:
            case ast.Name(id=name) if name in self.symbols:
                return self.symbols[name]
            case ast.Name(id=name):
                return self.origins.get(name, f"builtins.{name}")
            case ast.Attribute(value=value, attr=attribute):
                base = self._resolve(value)
                return f"{base}.{attribute}" if base else None
            case _:
                return None

    def _only_named(self) -> list[str]:
        """Things that it takes hold of without a call that could be followed."""
        return [
            f"It would have taken hold of {plain(name, NAME)}."
            for name in self.origins.values()
            if name not in self.called and not ORDINARY.fullmatch(_canonical(name)) and not _is_helper(name)
        ]


def _is_helper(name: str) -> bool:
    return _canonical(name) in (GETATTR, ATTRGETTER, *IMPORTERS, *APPLIERS)


def _canonical(name: str) -> str:
    module, dot, rest = name.partition(".")
    return ALIASES.get(module, module) + dot + rest


def _sentence(name: str, arguments: Sequence[ast.expr]) -> str:
    plainly = _canonical(name)
    what, shown = plain(_what(arguments), SHOWN), plain(name, NAME)
    for names, sentence in SENTENCES:
        if any(_fits(plainly, one) for one in names):
            return sentence.format(what=what, name=shown)
    return f"It would have called {shown} with `{what}`."


def _fits(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _made(name: str) -> str | None:
    if ORDINARY.fullmatch(_canonical(name)):
        return None
    return f"It would have made an object of the kind {plain(name, NAME)}."


def _constant(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _what(arguments: Sequence[ast.expr]) -> str:
    """The arguments as a person would write them; a single text without its quotes."""
    if arguments and isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str | bytes):
        value = arguments[0].value
        return value if isinstance(value, str) else value[: 2 * SHOWN].decode("latin-1")
    if arguments and isinstance(arguments[0], ast.List):
        return " ".join(_Writer().write(one) for one in arguments[0].elts[:SHOWN])
    return ", ".join(_Writer().write(one) for one in arguments[:SHOWN])


@dataclass
class _Writer:
    """Writes an expression of any depth and sharing, in a bounded number of pieces."""

    left: int = SHOWN

    def write(self, node: ast.expr, depth: int = 0) -> str:
        """The expression as text, with an ellipsis where it gets too long or too deep."""
        self.left -= 1
        if self.left < 0 or depth > 5:
            return "…"
        match node:
            case ast.Constant(value=str(value)):
                return value[: 2 * SHOWN]
            case ast.Constant(value=value):
                return repr(value[: 2 * SHOWN] if isinstance(value, bytes) else value)[: 2 * SHOWN]
            case ast.Name(id=name):
                return name
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return f"[{', '.join(self.write(one, depth + 1) for one in elements[: max(1, self.left)])}]"
            case _:
                return "…"
