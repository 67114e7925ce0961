"""Conditions that a template has no business with: on words that people say, on lengths of texts, on the date.

What a template may ask about a message: whether it holds a piece of markup (`</think>`), is empty, is a text.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from jinja2 import nodes

from registry.quarantine.templates.finding import Finding, quoted
from registry.quarantine.templates.flows import Flows
from registry.quarantine.templates.values import Origin, Value, union
from registry.quarantine.templates.vocabulary import TOOLS, is_markup

MOST_PARTS: Final = 2  # of a text split at a marker: before and behind it
MOST_NUMBER: Final = 64  # in a comparison; conversations up to that length are rendered for it
MAX_LITERAL: Final = 64  # characters; longer ones are no words that people happen to say

ORDERED: Final = frozenset({"gt", "gteq", "lt", "lteq"})
LOOKING: Final = frozenset({
    "startswith", "endswith", "split", "rsplit", "replace", "strip", "lstrip", "rstrip", "removeprefix",
    "removesuffix", "find", "rfind", "index", "count",
})  # fmt: skip
LOOKING_FILTERS: Final = frozenset({"replace", "trim", "strip", "lstrip", "rstrip"})
COUNTING_TESTS: Final = frozenset({"odd", "even", "number", "integer", "float"})
COMPARING_FILTERS: Final = frozenset({"select", "reject", "selectattr", "rejectattr"})
ASKING: Final = LOOKING | LOOKING_FILTERS | COMPARING_FILTERS | {"get"}


def check_triggers(tree: nodes.Template, flows: Flows) -> Iterator[Finding]:
    """Each condition of that kind."""
    for node in tree.find_all((*CHECKS,)):
        yield from CHECKS[type(node)](node, flows)


def literals(tree: nodes.Template, flows: Flows) -> tuple[list[str], list[int]]:
    """What the template compares anything with: texts and numbers, for trying them out.

    Those first that stand in a comparison themselves, then those that reach one by way of names.
    """
    asked = [side for node in tree.find_all(nodes.Compare) for side in _sides(node)]
    asking: list[nodes.Call | nodes.Filter] = [*tree.find_all(nodes.Call), *tree.find_all(nodes.Filter)]
    asked += [argument for node in asking if _name_of(node) in ASKING for argument in node.args]
    asked += [node.arg for node in tree.find_all(nodes.Getitem) if not isinstance(node.arg, nodes.Slice)]
    asked += [pair.key for pair in tree.find_all(nodes.Pair)]
    held = union(map(flows.value, asked))
    direct = {node.value for node in asked if isinstance(node, nodes.Const) and isinstance(node.value, str)}
    texts = {text for text in held.strings() | direct if 0 < len(text) <= MAX_LITERAL}
    return sorted(texts & direct) + sorted(texts - direct), sorted(held.numbers())


def _name_of(node: nodes.Call | nodes.Filter) -> str:
    if isinstance(node, nodes.Filter):
        return node.name
    return node.node.attr if isinstance(node.node, nodes.Getattr) else ""


def _sides(node: nodes.Compare) -> list[nodes.Expr]:
    return [node.expr, *(operand.expr for operand in node.ops)]


def _compare(node: nodes.Compare, flows: Flows) -> Iterator[Finding]:
    sides = [flows.value(side) for side in _sides(node)]
    yield from compared(sides, node.lineno, ordered=any(o.op in ORDERED for o in node.ops))
    numbers = [number for side in sides for number in side.numbers()]
    counting = any(side.has(Origin.COUNT, Origin.SIZE) for side in sides)
    if counting and any(abs(number) > MOST_NUMBER for number in numbers):
        yield Finding(
            "template.trigger.count",
            f"The template waits for a count of {max(numbers, key=abs)} and then behaves differently.",
            node.lineno,
        )


def compared(sides: list[Value], line: int, *, ordered: bool = False) -> Iterator[Finding]:
    """What is wrong with comparing these with one another."""
    if any(side.has(Origin.DATE) for side in sides):
        yield Finding(
            "template.trigger.date", "The template behaves differently from a certain date on.", line
        )
    texts = [side for side in sides if side.has(Origin.TEXT)]
    others = [side for side in sides if not side.has(Origin.TEXT)]
    if texts:
        yield from _looked_for(others, line)
    if texts and ordered:
        yield Finding("template.trigger.order", "The template sorts messages by what they say.", line)
    if len(texts) > 1:
        yield Finding("template.trigger.repetition", "The template compares messages with one another.", line)
    yield from _sizes(sides, line)
    yield from _tool_names(sides, line)


def _looked_for(values: list[Value], line: int) -> Iterator[Finding]:
    for literal in sorted(literal for value in values for literal in value.strings()):
        if not is_markup(literal):
            yield _trigger(literal, line)
    if any(value.has(Origin.MADE) for value in values):
        yield Finding(
            "template.trigger.made", "The template puts together a word and looks for it in messages.", line
        )


def _trigger(literal: str, line: int) -> Finding:
    return Finding(
        "template.trigger.word",
        f"The template behaves differently when a message says {quoted(literal)}.",
        line,
    )


def _sizes(sides: list[Value], line: int) -> Iterator[Finding]:
    if not any(side.has(Origin.SIZE) for side in sides):
        return
    several = sum(side.has(Origin.SIZE) for side in sides) > 1
    if several or any(abs(number) > MOST_PARTS for side in sides for number in side.numbers()):
        yield Finding(
            "template.trigger.length", "The template behaves differently from a certain length on.", line
        )


def _tool_names(sides: list[Value], line: int) -> Iterator[Finding]:
    others = [side for side in sides if not side.has(Origin.NAME)]
    if len(others) == len(sides):
        return
    for literal in sorted(literal for side in others for literal in side.strings()):
        if literal not in TOOLS and not is_markup(literal):
            yield Finding(
                "template.trigger.name",
                f"The template treats something named {quoted(literal)} differently from others.",
                line,
            )


def _call(node: nodes.Call, flows: Flows) -> Iterator[Finding]:
    if not isinstance(node.node, nodes.Getattr):
        return
    base = flows.value(node.node.node)
    arguments = [flows.value(argument) for argument in node.args]
    yield from _looking(node.node.attr, LOOKING, base, arguments, node.lineno)
    if node.node.attr == "get" and arguments and arguments[0].has(Origin.TEXT, Origin.DATE):
        yield _look_up(node.lineno)


def _filter(node: nodes.Filter, flows: Flows) -> Iterator[Finding]:
    base = flows.value(node.node)
    arguments = [flows.value(argument) for argument in node.args]
    yield from _looking(node.name, LOOKING_FILTERS, base, arguments, node.lineno)
    if node.name in ("int", "float", "abs", "round") and base.has(Origin.TEXT, Origin.DATE):
        yield Finding("template.trigger.number", "The template computes with what messages say.", node.lineno)
    if node.name in COMPARING_FILTERS:
        yield from _selecting(node, base, arguments, flows)


def _selecting(node: nodes.Filter, base: Value, arguments: list[Value], flows: Flows) -> Iterator[Finding]:
    """`selectattr("content", "equalto", x)` is a comparison."""
    against = arguments[2:] if node.name.endswith("attr") else arguments[1:]
    if node.name.endswith("attr") and node.args and isinstance(node.args[0], nodes.Const):
        assert node.node is not None
        base = flows.value(nodes.Getattr(node.node, str(node.args[0].value).split(".")[-1], "load"))
    yield from compared([base, *against], node.lineno)


def _looking(
    name: str, names: frozenset[str], base: Value, arguments: list[Value], line: int
) -> Iterator[Finding]:
    if name not in names:
        return
    if base.has(Origin.DATE) or any(argument.has(Origin.DATE) for argument in arguments):
        yield Finding("template.trigger.date", "The template looks into the date.", line)
    arguments = arguments[:1]  # what a replacement puts in its place shows when it is tried out
    if base.has(Origin.TEXT):
        yield from _looked_for([a for a in arguments if not a.has(Origin.TEXT)], line)
    elif any(argument.has(Origin.TEXT) for argument in arguments):
        yield from _looked_for([base], line)
    if base.has(Origin.NAME):
        yield from _tool_names([base, *arguments], line)


def _getitem(node: nodes.Getitem, flows: Flows) -> Iterator[Finding]:
    if isinstance(node.arg, nodes.Slice):
        yield from _slice(node, node.arg, flows)
        return
    if flows.value(node.arg).has(Origin.TEXT, Origin.DATE):
        yield _look_up(node.lineno)
    index = [number for number in flows.value(node.arg).numbers() if abs(number) > MOST_PARTS]
    held = flows.value(node.node)
    if index and held.has(Origin.TEXT) and not held.has(Origin.MESSAGE):
        yield Finding(
            "template.trigger.place", "The template looks at one place inside a message.", node.lineno
        )


def _slice(node: nodes.Getitem, cut: nodes.Slice, flows: Flows) -> Iterator[Finding]:
    """`content[500:]` is empty for short messages; `"text"[:length]` appears with long ones."""
    held, bounds = flows.value(node.node), union(map(flows.value, (cut.start, cut.stop, cut.step)))
    far = any(abs(number) > MOST_NUMBER for number in bounds.numbers())
    by_size = bounds.has(Origin.SIZE) and not held.has(Origin.TEXT)
    if by_size or (far and held.has(Origin.TEXT) and not held.has(Origin.MESSAGE)):
        yield Finding(
            "template.trigger.length",
            "The template behaves differently from a certain length on.",
            node.lineno,
        )


def _test(node: nodes.Test, flows: Flows) -> Iterator[Finding]:
    held = flows.value(node.node)
    if node.name in COUNTING_TESTS and held.has(Origin.SIZE, Origin.TEXT, Origin.DATE):
        yield Finding("template.trigger.number", "The template computes with what messages say.", node.lineno)
    yield from compared([held, *map(flows.value, node.args)], node.lineno) if node.args else ()


def _look_up(line: int) -> Finding:
    return Finding("template.trigger.table", "The template looks messages up in a table of its own.", line)


def _arithmetic(node: nodes.BinExpr, flows: Flows) -> Iterator[Finding]:
    sides = [flows.value(side) for side in (node.left, node.right)]
    far = any(abs(number) > MOST_PARTS for side in sides for number in side.numbers())
    moves = isinstance(node, nodes.Add | nodes.Sub)
    if any(side.has(Origin.SIZE) for side in sides) and (far or not moves):
        yield Finding(
            "template.trigger.length", "The template computes with the length of messages.", node.lineno
        )


CHECKS: Final[Mapping[type[nodes.Node], Callable[..., Iterator[Finding]]]] = {
    nodes.Compare: _compare, nodes.Call: _call, nodes.Filter: _filter, nodes.Test: _test,
    nodes.Getitem: _getitem, nodes.Add: _arithmetic, nodes.Sub: _arithmetic, nodes.Mod: _arithmetic,
    nodes.Mul: _arithmetic, nodes.FloorDiv: _arithmetic,
}  # fmt: skip
