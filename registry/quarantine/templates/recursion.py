"""Macros that call themselves."""

from collections.abc import Iterator, Mapping
from typing import Final

from jinja2 import nodes

from registry.quarantine.templates.finding import Finding, quoted

LOOKUPS: Final = (nodes.Getattr, nodes.Getitem, nodes.Filter)


def check_recursion(tree: nodes.Template) -> Iterator[Finding]:
    """A macro may call itself only on a part of what it was given, as those do that walk a tool's description."""
    macros = {macro.name: macro for macro in tree.find_all(nodes.Macro)}
    for macro in macros.values():
        parts = _parts_of_parameters(macro)
        for call in macro.find_all(nodes.Call):
            name = call.node.name if isinstance(call.node, nodes.Name) else ""
            if (
                name in macros
                and macro.name in _reachable(name, macros)
                and not _descends(call, macro, parts)
            ):
                yield Finding(
                    "template.recursion",
                    f"The macro {quoted(macro.name)} calls itself without end.",
                    call.lineno,
                )


def _reachable(start: str, macros: Mapping[str, nodes.Macro]) -> set[str]:
    seen: set[str] = set()
    left = [start]
    while left:
        name = left.pop()
        if name in seen or name not in macros:
            continue
        seen.add(name)
        calls = macros[name].find_all(nodes.Call)
        left += [call.node.name for call in calls if isinstance(call.node, nodes.Name)]
    return seen


def _parts_of_parameters(macro: nodes.Macro) -> set[str]:
    """Names that hold a part of a parameter: loop variables over it, and what is set from an item of it."""
    parameters = {argument.name for argument in macro.args}
    parts: set[str] = set()
    for _ in range(3):
        for loop in macro.find_all(nodes.For):
            if (parameters | parts) & _names(loop.iter):
                parts |= _names(loop.target)
        for assign in macro.find_all(nodes.Assign):
            if isinstance(assign.target, nodes.Name) and _takes_apart(assign.node, parameters | parts):
                parts.add(assign.target.name)
    return parts - parameters


def _names(node: nodes.Node) -> set[str]:
    own = {node.name} if isinstance(node, nodes.Name) else set()
    return own | {name.name for name in node.find_all(nodes.Name)}


def _takes_apart(node: nodes.Node, of: set[str]) -> bool:
    """Whether `node` looks up an item of one of the names, or lists its items."""
    lookups: list[nodes.Node] = [node] if isinstance(node, LOOKUPS) else []
    lookups += node.find_all(LOOKUPS)
    return any(
        of & _names(lookup)
        for lookup in lookups
        if not isinstance(lookup, nodes.Filter) or lookup.name in ("items", "dictsort")
    )


def _descends(call: nodes.Call, macro: nodes.Macro, parts: set[str]) -> bool:
    parameters = {argument.name for argument in macro.args}
    values = [*call.args, *(keyword.value for keyword in call.kwargs)]
    return any(_takes_apart(value, parameters | parts) or parts & _names(value) for value in values)
