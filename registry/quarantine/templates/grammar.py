"""The template as code: which constructs, filters, tests, functions and methods it may use.

An allow list: what ordinary chat templates use, and nothing that reaches for Python's objects, for other files, or
for more memory and time than a conversation needs.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from jinja2 import nodes

from registry.quarantine.templates.characters import check_text
from registry.quarantine.templates.finding import Finding, quoted
from registry.quarantine.templates.recursion import check_recursion

MAX_NODES: Final = 5_000  # the largest of 70 published templates has 1,286
MAX_DEPTH: Final = 60  # and 29 levels
MAX_LOOPS: Final = 5
MAX_NUMBER: Final = 100_000
MAX_RANGE: Final = 1_000

STATEMENTS: Final = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.AssignBlock,
    nodes.Macro, nodes.FilterBlock, nodes.With, nodes.Break, nodes.Continue,
)  # fmt: skip
EXPRESSIONS: Final = (
    nodes.Name, nodes.NSRef, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword,
    nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Concat,
    nodes.Compare, nodes.Operand, nodes.Add, nodes.Sub, nodes.Mul, nodes.Mod, nodes.FloorDiv, nodes.And, nodes.Or,
    nodes.Not, nodes.Neg, nodes.Pos,
)  # fmt: skip
WORDS: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Include: "includes other files", nodes.Import: "imports other files",
    nodes.FromImport: "imports other files", nodes.Extends: "extends other files",
    nodes.Block: "uses blocks, which are for pages", nodes.CallBlock: "passes code to a macro",
    nodes.Pow: "computes powers, which can fill the memory", nodes.Div: "divides numbers",
    nodes.ExprStmt: "runs statements",
}  # fmt: skip
FILTERS: Final = frozenset({
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "from_json", "indent", "int", "items",
    "join", "last", "length", "list", "lower", "lstrip", "map", "max", "min", "reject", "rejectattr",
    "replace", "reverse", "round", "rstrip", "safe", "select", "selectattr", "sort", "string", "strip",
    "title", "tojson", "trim", "unique", "upper",
})  # fmt: skip
TESTS: Final = frozenset({
    "boolean", "defined", "eq", "equalto", "even", "false", "float", "in", "integer", "iterable", "mapping",
    "ne", "none", "number", "odd", "sequence", "string", "true", "undefined", "==", "!=",
})  # fmt: skip
METHODS: Final = frozenset({
    "append", "capitalize", "count", "endswith", "find", "format", "get", "index", "items", "join", "keys",
    "lower", "lstrip", "pop", "removeprefix", "removesuffix", "replace", "rfind", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "title", "upper", "values",
})  # fmt: skip
# All that texts, lists, dicts and numbers can do besides, called or not.
OTHER_METHODS: Final = frozenset(
    name
    for kind in (str, bytes, list, dict, tuple, set, int, float)
    for name in dir(kind)
    if name not in METHODS
)
FUNCTIONS: Final = frozenset({"namespace", "raise_exception", "range", "strftime_now", "dict"})
LOOP: Final = frozenset({
    "index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0", "previtem", "nextitem",
})  # fmt: skip
FORBIDDEN_NAMES: Final = frozenset(
    {"self", "caller", "varargs", "kwargs", "lipsum", "cycler", "joiner", "environment"}
)
# What Python's frames, functions, generators and classes answer to without an underscore in front.
INNARDS: Final = re.compile(r"_|(gi|cr|ag|co|f|tb|func|im)_|mro$|format_map$")
DATE_FORM: Final = re.compile(r"(?:%-?[AaBbdefHIjMmpSYyTZz]|[\s,.:/()T-]){1,40}")
FORMAT: Final = re.compile(r"(?:[^{}]|\{\{|\}\}|\{\d{0,2}(?::[<>^]?0?\d{0,2}[sd]?)?\})*")


def check_grammar(tree: nodes.Template) -> Iterator[Finding]:
    """Every construct that is not allowed, in the order of the template."""
    size, depth = _measure(tree)
    if size > MAX_NODES:
        yield Finding("template.size.parts", f"The template has {size:,} parts; no ordinary one has so many.")
        return
    if depth > MAX_DEPTH:
        yield Finding("template.depth", f"The template is nested {depth} levels deep; no ordinary one is.")
        return
    macros = {macro.name for macro in tree.find_all(nodes.Macro)}
    for node in tree.find_all(nodes.Node):
        yield from _check_node(node, macros)
    yield from _check_loops(tree, 0)
    yield from check_recursion(tree)


def _measure(tree: nodes.Node) -> tuple[int, int]:
    """Count of nodes and greatest depth, without recursion of our own."""
    size, depth, open_nodes = 0, 0, [(tree, 1)]
    while open_nodes and size <= MAX_NODES:
        node, level = open_nodes.pop()
        size, depth = size + 1, max(depth, level)
        open_nodes += [(child, level + 1) for child in node.iter_child_nodes()]
    return size, depth


def _check_node(node: nodes.Node, macros: set[str]) -> Iterator[Finding]:
    if not isinstance(node, (*STATEMENTS, *EXPRESSIONS)):
        what = WORDS.get(type(node), f"uses “{type(node).__name__.lower()}”")
        yield Finding(
            "template.construct", f"The template {what}; chat templates have no use for it.", node.lineno
        )
        return
    for kind, check in CHECKS.items():
        if isinstance(node, kind):
            yield from check(node, macros)


def _check_name(node: nodes.Name, macros: set[str]) -> Iterator[Finding]:
    redefined = node.ctx != "load" and node.name in (FUNCTIONS | macros) - {"namespace"}
    if node.name in FORBIDDEN_NAMES or node.name.startswith("__") or redefined:
        yield _reaches(node.name, node.lineno)


def _check_attribute(node: nodes.Getattr, _macros: set[str]) -> Iterator[Finding]:
    on_loop = isinstance(node.node, nodes.Name) and node.node.name == "loop"
    forbidden = INNARDS.match(node.attr) or "__" in node.attr or node.attr in OTHER_METHODS
    if forbidden or (on_loop and node.attr not in LOOP):
        yield _reaches(node.attr, node.lineno)


def _check_namespace(node: nodes.NSRef, _macros: set[str]) -> Iterator[Finding]:
    if node.attr.startswith("__"):
        yield _reaches(node.attr, node.lineno)


def _check_constant(node: nodes.Const, _macros: set[str]) -> Iterator[Finding]:
    value = node.value
    if isinstance(value, str):
        yield from check_text(value, node.lineno)
        if "__" in value and value.strip("_-") and re.search(r"__\w+__", value):
            yield _reaches(value, node.lineno)
    elif isinstance(value, int | float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        yield Finding(
            "template.number", "The template uses a number that no conversation needs.", node.lineno
        )


def _check_filter(node: nodes.Filter, macros: set[str]) -> Iterator[Finding]:
    if node.name not in FILTERS:
        yield Finding(
            "template.filter",
            f"The template uses the filter {quoted(node.name)}, which is not allowed.",
            node.lineno,
        )
    yield from _check_named_arguments(node, macros)


def _check_named_arguments(node: nodes.Filter, _macros: set[str]) -> Iterator[Finding]:
    """`map`, `select`, `sort` … take attributes and filters by name: those must be plain words standing there."""
    named = [pair.value for pair in node.kwargs if pair.key in ("attribute", "by")]
    if node.name in ("map", "select", "reject", "selectattr", "rejectattr"):
        named += node.args[:1]
        checked = node.args[1:2] if node.name.endswith("attr") else node.args[:1]
        for argument in checked:
            if not isinstance(argument, nodes.Const) or argument.value not in FILTERS | TESTS:
                yield _reaches("a filter by name", node.lineno)
    for argument in named:
        if not isinstance(argument, nodes.Const) or not re.fullmatch(r"(?!_)[\w.=!]*", str(argument.value)):
            yield _reaches("an attribute by name", node.lineno)
        elif "._" in str(argument.value) or INNARDS.match(str(argument.value)):
            yield _reaches(str(argument.value), node.lineno)
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        yield _reaches("arguments by a list", node.lineno)


def _check_test(node: nodes.Test, _macros: set[str]) -> Iterator[Finding]:
    if node.name not in TESTS:
        yield Finding(
            "template.test",
            f"The template uses the test {quoted(node.name)}, which is not allowed.",
            node.lineno,
        )


def _check_call(node: nodes.Call, macros: set[str]) -> Iterator[Finding]:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        yield _reaches("arguments by a list", node.lineno)
    called = node.node
    if isinstance(called, nodes.Getattr):
        yield from _check_method(called, node)
    elif not isinstance(called, nodes.Name) or called.name not in FUNCTIONS | macros:
        name = called.name if isinstance(called, nodes.Name) else "something that it looks up"
        yield Finding(
            "template.call", f"The template calls {quoted(name)}, which is not allowed.", node.lineno
        )
    elif called.name == "range":
        yield from _check_range(node)
    elif called.name == "strftime_now":
        yield from _check_date(node)


def _check_method(method: nodes.Getattr, call: nodes.Call) -> Iterator[Finding]:
    if method.attr not in METHODS:
        yield Finding(
            "template.call",
            f"The template calls {quoted('.' + method.attr)}, which is not allowed.",
            call.lineno,
        )
    if method.attr == "format":
        form = method.node.value if isinstance(method.node, nodes.Const) else None
        if not isinstance(form, str) or not FORMAT.fullmatch(form):
            yield _reaches(".format", call.lineno)


def _check_date(call: nodes.Call) -> Iterator[Finding]:
    """The form of a date holds parts of a date, and no text of its own."""
    form = call.args[0].value if call.args and isinstance(call.args[0], nodes.Const) else None
    if not isinstance(form, str) or not DATE_FORM.fullmatch(form):
        yield Finding(
            "template.date", "The template asks for the date in a form that is no date.", call.lineno
        )


def _check_range(call: nodes.Call) -> Iterator[Finding]:
    numbers = [argument.value for argument in call.args if isinstance(argument, nodes.Const)]
    if any(isinstance(number, int) and abs(number) > MAX_RANGE for number in numbers):
        yield Finding(
            "template.loop", "The template counts further than any conversation is long.", call.lineno
        )


def _check_arithmetic(node: nodes.BinExpr, _macros: set[str]) -> Iterator[Finding]:
    """`"…" % x` formats with a language of its own, and `"…" * n` makes long texts."""
    texts = [side for side in (node.left, node.right) if _is_text(side)]
    if isinstance(node, nodes.Mod) and texts:
        yield _reaches("%", node.lineno)
    numbers = [side.value for side in (node.left, node.right) if isinstance(side, nodes.Const)]
    if texts and any(isinstance(number, int) and number > MAX_RANGE for number in numbers):
        yield Finding("template.number", "The template repeats a text very often.", node.lineno)


def _is_text(node: nodes.Expr) -> bool:
    return isinstance(node, nodes.List) or (isinstance(node, nodes.Const) and isinstance(node.value, str))


def _check_for(node: nodes.For, _macros: set[str]) -> Iterator[Finding]:
    if node.recursive:
        yield Finding("template.recursion", "The template has a loop that calls itself.", node.lineno)


def _check_macro(node: nodes.Macro, _macros: set[str]) -> Iterator[Finding]:
    if node.name in FUNCTIONS or node.name.startswith("__"):
        yield _reaches(node.name, node.lineno)


def _check_data(node: nodes.TemplateData, _macros: set[str]) -> Iterator[Finding]:
    yield from check_text(node.data, node.lineno)


CHECKS: Final[Mapping[type[nodes.Node], Callable[..., Iterator[Finding]]]] = {
    nodes.Name: _check_name, nodes.Getattr: _check_attribute, nodes.NSRef: _check_namespace,
    nodes.Const: _check_constant, nodes.TemplateData: _check_data, nodes.Filter: _check_filter,
    nodes.Test: _check_test, nodes.Call: _check_call, nodes.BinExpr: _check_arithmetic, nodes.For: _check_for,
    nodes.Macro: _check_macro,
}  # fmt: skip


def _check_loops(node: nodes.Node, inside: int) -> Iterator[Finding]:
    if isinstance(node, nodes.For):
        inside += 1
        if inside > MAX_LOOPS:
            yield Finding("template.loop", f"The template nests {inside} loops in one another.", node.lineno)
            return
    for child in node.iter_child_nodes():
        yield from _check_loops(child, inside)


def _reaches(what: str, line: int) -> Finding:
    return Finding(
        "template.reach",
        f"The template reaches for {quoted(what)}, which opens a way out of its sandbox.",
        line,
    )
