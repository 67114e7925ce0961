"""Where a template's values come from: which ones hold what people say, the date, or a length of either.

An over-approximation without regard to order or scope: a name means the union of all it is ever given, and a field
(`ns.text`, a key of a dict) likewise, whatever it is a field of.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from jinja2 import nodes

from registry.quarantine.templates.values import (
    NOTHING,
    Origin,
    Value,
    joined,
    made,
    origin,
    union,
    written,
)

ROUNDS: Final = 12

CONTENT_FIELDS: Final = frozenset({"content", "text", "reasoning_content", "thinking", "reasoning"})
LOOP_COUNTS: Final = frozenset({"index", "index0", "revindex", "revindex0", "length"})
KEEPING: Final = frozenset({
    "default", "d", "first", "last", "list", "sort", "reverse", "unique", "select", "reject", "selectattr",
    "rejectattr", "max", "min", "safe",
})  # fmt: skip
SIZES: Final = frozenset({"length", "count"})


class Flows:
    """The values of a template's names and fields, worked out once; `value` answers for any expression."""

    def __init__(self, tree: nodes.Template) -> None:
        self._names: dict[str, Value] = defaultdict(Value, {"messages": origin(Origin.MESSAGE)})
        self._fields: dict[str, Value] = defaultdict(Value)
        self._results: dict[str, Value] = defaultdict(Value)
        self._macros = {macro.name: macro for macro in tree.find_all(nodes.Macro)}
        self._loops = dict(_loop_names(tree, None))
        assigning = list(tree.find_all((*ASSIGNING,)))
        for _ in range(ROUNDS):
            before = (dict(self._names), dict(self._fields), dict(self._results))
            for node in assigning:
                ASSIGNING[type(node)](self, node)
            if before == (self._names, self._fields, self._results):
                break

    def value(self, node: nodes.Node | None) -> Value:
        """What `node` may hold."""
        rule = RULES.get(type(node))
        return rule(self, node) if rule is not None else NOTHING

    def _counts_text(self, loop: nodes.Name) -> bool:
        """Whether this `loop` goes over the pieces of a text."""
        over = self.value(self._loops[id(loop)].iter) if id(loop) in self._loops else NOTHING
        return over.has(Origin.TEXT) and not over.has(Origin.MESSAGE)

    def _give(self, target: nodes.Node, value: Value) -> None:
        if isinstance(target, nodes.Name):
            self._names[target.name] |= value
        elif isinstance(target, nodes.NSRef):
            self._fields[target.attr] |= value
        elif isinstance(target, nodes.Tuple):
            for item in target.items:
                self._give(item, value)

    # What gives values to names

    def _assign(self, node: nodes.Assign) -> None:
        self._give(node.target, self.value(node.node))

    def _assign_block(self, node: nodes.AssignBlock) -> None:
        self._give(node.target, self._body(node.body))

    def _for(self, node: nodes.For) -> None:
        self._give(node.target, self.value(node.iter))

    def _with(self, node: nodes.With) -> None:
        for target, value in zip(node.targets, node.values, strict=True):
            self._give(target, self.value(value))

    def _macro(self, node: nodes.Macro) -> None:
        for argument, default in zip(node.args[::-1], node.defaults[::-1], strict=False):
            self._names[argument.name] |= self.value(default)
        self._results[node.name] |= self._body(node.body)

    def _macro_call(self, node: nodes.Call) -> None:
        macro = self._macros.get(node.node.name) if isinstance(node.node, nodes.Name) else None
        if macro is None:
            return
        for parameter, given in zip(macro.args, node.args, strict=False):
            self._names[parameter.name] |= self.value(given)
        for keyword in node.kwargs:
            self._names[keyword.key] |= self.value(keyword.value)

    def _dict_fields(self, node: nodes.Dict) -> None:
        for pair in node.items:
            if isinstance(pair.key, nodes.Const) and isinstance(pair.key.value, str):
                self._fields[pair.key.value] |= self.value(pair.value)

    def _namespace_fields(self, node: nodes.Call) -> None:
        for keyword in node.kwargs:
            self._fields[keyword.key] |= self.value(keyword.value)

    def _call_fields(self, node: nodes.Call) -> None:
        if isinstance(node.node, nodes.Name) and node.node.name in ("namespace", "dict"):
            self._namespace_fields(node)
        elif isinstance(node.node, nodes.Getattr) and node.node.attr == "append":
            for argument in node.args:
                self._give(node.node.node, self.value(argument))
        else:
            self._macro_call(node)

    # What expressions hold

    def _body(self, body: Iterable[nodes.Node]) -> Value:
        """What the outputs inside some statements write."""
        parts = [part for node in body for part in [node, *node.find_all(nodes.Output)]]
        outputs = [node for node in parts if isinstance(node, nodes.Output)]
        return written(union(self.value(part) for output in outputs for part in output.nodes))

    def _name(self, node: nodes.Name) -> Value:
        return self._names[node.name]

    def _constant(self, node: nodes.Const) -> Value:
        usable = isinstance(node.value, str | int) and not isinstance(node.value, bool)
        return Value(constants=frozenset({node.value})) if usable else NOTHING

    def _data(self, node: nodes.TemplateData) -> Value:
        return Value(constants=frozenset({node.data}))

    def _getattr(self, node: nodes.Getattr) -> Value:
        if isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in LOOP_COUNTS:
            return origin(Origin.SIZE if self._counts_text(node.node) else Origin.COUNT)
        return self._field(node.node, node.attr)

    def _getitem(self, node: nodes.Getitem) -> Value:
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self._field(node.node, node.arg.value)
        base = self.value(node.node)
        if isinstance(node.arg, nodes.Slice):
            return base | origin(Origin.MADE) if base.constants else base
        if isinstance(node.arg, nodes.Const | nodes.Neg):
            return base
        computed = {name for name in self.value(node.arg).strings() if name in CONTENT_FIELDS}
        return base | origin(Origin.TEXT) if computed else base

    def _field(self, base: nodes.Expr, field: str) -> Value:
        known = self._fields[field]
        if field in CONTENT_FIELDS:
            return known | origin(Origin.TEXT)
        if field == "name":
            return known | origin(Origin.NAME)
        holder = self.value(base)
        return known | Value(constants=holder.constants)

    def _filter(self, node: nodes.Filter) -> Value:
        if node.node is None:
            return NOTHING
        base, others = self.value(node.node), union(map(self.value, node.args))
        if node.name in SIZES:
            only_messages = base.has(Origin.MESSAGE) or not base.has(Origin.TEXT, Origin.SIZE)
            return origin(Origin.COUNT if only_messages else Origin.SIZE)
        if node.name == "map" and node.kwargs and isinstance(node.kwargs[0].value, nodes.Const):
            return self._field(node.node, str(node.kwargs[0].value.value).split(".")[-1])
        if node.name in KEEPING:
            return base | (others if node.name in ("default", "d") else NOTHING)
        return written(made(base | Value(others.origins)))

    def _call(self, node: nodes.Call) -> Value:
        called = node.node
        if isinstance(called, nodes.Getattr):
            return self._method(called, node)
        if not isinstance(called, nodes.Name):
            return NOTHING
        if called.name == "strftime_now":
            return origin(Origin.DATE)
        if called.name == "range":
            sizes = union(map(self.value, node.args))
            return origin(Origin.SIZE if sizes.has(Origin.SIZE) else Origin.COUNT)
        return self._results[called.name]

    def _method(self, called: nodes.Getattr, node: nodes.Call) -> Value:
        first = node.args[0] if node.args else None
        if called.attr == "get" and isinstance(first, nodes.Const):
            return self._field(called.node, str(first.value)) | union(map(self.value, node.args[1:]))
        base, others = self.value(called.node), union(map(self.value, node.args))
        if called.attr in ("find", "rfind", "index", "count"):
            return origin(Origin.SIZE) if base.has(Origin.TEXT) else NOTHING
        if called.attr in ("startswith", "endswith"):
            return NOTHING
        if called.attr in ("items", "values", "pop"):
            return base | (origin(Origin.TEXT) if base.has(Origin.MESSAGE) else NOTHING)
        if called.attr == "join":
            return written(made(base | others))
        return written(made(base | Value(others.origins)))

    def _condition(self, node: nodes.CondExpr) -> Value:
        return self.value(node.expr1) | self.value(node.expr2)

    def _either(self, node: nodes.BinExpr) -> Value:
        return self.value(node.left) | self.value(node.right)

    def _add(self, node: nodes.BinExpr) -> Value:
        sides = [self.value(node.left), self.value(node.right)]
        counts = all(side.numbers() or side.has(Origin.COUNT) for side in sides)
        return joined(sides) | (origin(Origin.COUNT) if counts else NOTHING)

    def _concat(self, node: nodes.Concat) -> Value:
        return joined([self.value(part) for part in node.nodes])

    def _arithmetic(self, node: nodes.BinExpr) -> Value:
        both = self.value(node.left) | self.value(node.right)
        return Value(both.origins & {Origin.SIZE, Origin.DATE, Origin.TEXT} | {Origin.COUNT}, both.constants)

    def _sign(self, node: nodes.UnaryExpr) -> Value:
        inner = self.value(node.node)
        return Value(inner.origins, frozenset({*inner.constants, *(-n for n in inner.numbers())}))

    def _items(self, node: nodes.Tuple | nodes.List) -> Value:
        return union(map(self.value, node.items))

    def _dict(self, node: nodes.Dict) -> Value:
        return union(part for pair in node.items for part in (self.value(pair.key), self.value(pair.value)))


def _loop_names(node: nodes.Node, inside: nodes.For | None) -> Iterator[tuple[int, nodes.For]]:
    """Each `loop` in the template with the loop that it means, by the node's identity."""
    if isinstance(node, nodes.Name) and node.name == "loop" and inside is not None:
        yield id(node), inside
    for child in node.iter_child_nodes():
        belongs = isinstance(node, nodes.For) and (child in node.body or child is node.test)
        yield from _loop_names(child, node if isinstance(node, nodes.For) and belongs else inside)


ASSIGNING: Final[Mapping[type[nodes.Node], Callable[..., None]]] = {
    nodes.Assign: Flows._assign, nodes.AssignBlock: Flows._assign_block, nodes.For: Flows._for,
    nodes.With: Flows._with, nodes.Macro: Flows._macro, nodes.Call: Flows._call_fields,
    nodes.Dict: Flows._dict_fields,
}  # fmt: skip
RULES: Final[Mapping[type[nodes.Node] | type[None], Callable[..., Value]]] = {
    nodes.Name: Flows._name, nodes.Const: Flows._constant, nodes.TemplateData: Flows._data,
    nodes.Getattr: Flows._getattr,
    nodes.Getitem: Flows._getitem, nodes.Filter: Flows._filter, nodes.Call: Flows._call,
    nodes.CondExpr: Flows._condition, nodes.And: Flows._either, nodes.Or: Flows._either, nodes.Add: Flows._add,
    nodes.Concat: Flows._concat, nodes.Sub: Flows._arithmetic, nodes.Mul: Flows._arithmetic,
    nodes.Mod: Flows._arithmetic, nodes.FloorDiv: Flows._arithmetic, nodes.Neg: Flows._sign,
    nodes.Tuple: Flows._items, nodes.List: Flows._items, nodes.Dict: Flows._dict,
}  # fmt: skip
