"""Conditions: a small language over the view, for stops and for ``--until``.

    membership_installed                         the event is of this kind
    log("A processor failed")                    … is a log line that holds these words
    happened(datagram_dropped, B)                … is of this kind, on this node
    node(2).state == GATHER                      a node by id, letter (C) or name ("pve3")
    token.age > 2s                               durations have units: ns, us, ms, s, min
    fsync(3) > 500ms and token.node == C
    some(state == GATHER)                        for at least one node; every(...) for all
    write(7).durable == 3                        the journey of a write

The text is parsed by Python's own parser and compiled to closures from a table of what is allowed; nothing of Python
but comparisons, ``and or not in``, arithmetic and the names below means anything here. A value that is not known makes
every comparison with it false.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from totemviz.totem.effects import Log
from totemviz.trace.condition_words import ATTRIBUTES, CALLS, NODE, NODE_WORDS, PLAIN, STATES, TOKEN, WRITE, Instant
from totemviz.trace.events import BODY_BY_KIND, Event, NodeInfo
from totemviz.trace.view import ClusterView

_UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
_LITERAL = re.compile(r"""("[^"]*"|'[^']*')|(?<![\w.])(\d+(?:\.\d+)?)\s?(ns|us|µs|ms|min|s)\b""")
_PLACEHOLDERS = "abcdefghijklmnopqrstuvwxyz"

_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {ast.Add: operator.add, ast.Sub: operator.sub}


class ConditionError(ValueError):
    """A condition that means nothing: one line with the place and the mend."""


Ask = Callable[[Instant], Any]


class Condition(msgspec.Struct, frozen=True):
    """A compiled condition. ``timed``: it can become true while nothing happens, only because time passes."""

    text: str
    ask: Ask
    timed: bool

    def holds(self, view: ClusterView, event: Event | None, now_ns: int) -> bool:
        """Whether it is true at this moment."""
        return bool(self.ask(Instant(view, event, now_ns)))


def compile_condition(text: str, nodes: Sequence[NodeInfo]) -> Condition:
    """Read a condition about a cluster of these nodes. Raises ConditionError."""
    reader = _Reader(text, nodes)
    return Condition(text.strip(), reader.read(), reader.timed)


class _Reader:
    def __init__(self, text: str, nodes: Sequence[NodeInfo]) -> None:
        self.text = text
        self.nodes = nodes
        self.timed = False
        self._durations: dict[str, int] = {}
        self._in_node = False

    def read(self) -> Ask:
        source = _LITERAL.sub(self._take_duration, self.text)
        stripped = source.strip()
        if not stripped:
            raise ConditionError("an empty condition; write e.g. node(2).state == GATHER or membership_installed")
        try:
            tree = ast.parse(stripped, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            column = (getattr(error, "offset", None) or 1) + len(source) - len(source.lstrip())
            raise ConditionError(
                f"“{self.text}”, column {column}: this cannot be read; write e.g. node(2).state == GATHER"
            ) from None
        self._shift = len(source) - len(source.lstrip())
        if isinstance(tree.body, ast.Name) and tree.body.id in BODY_BY_KIND:
            return self._happened(tree.body.id, None)
        try:
            return self._compile(tree.body)
        except RecursionError:
            raise ConditionError(f"“{self.text[:40]}…” is nested too deeply; make it shorter") from None

    def _take_duration(self, match: re.Match[str]) -> str:
        """A name of the same length in the place of ``2.5s``, so that columns stay true."""
        if match[1] or len(self._durations) >= len(_PLACEHOLDERS):
            return match[0]
        name = f"_{_PLACEHOLDERS[len(self._durations)]}".ljust(len(match[0]), "_")
        self._durations[name] = round(float(match[2]) * _UNITS_NS[match[3]])
        return name

    def _fail(self, node: ast.AST, what: str) -> ConditionError:
        column = getattr(node, "col_offset", 0) + 1 + self._shift
        return ConditionError(f"“{self.text.strip()}”, column {column}: {what}")

    # ------------------------------------------------------------------------------------------------------ compiling

    def _compile(self, node: ast.AST) -> Ask:
        handlers: dict[type, Callable[[Any], Ask]] = {
            ast.BoolOp: self._logic,
            ast.UnaryOp: self._unary,
            ast.Compare: self._comparison,
            ast.BinOp: self._arithmetic,
            ast.Call: self._call,
            ast.Attribute: self._attribute,
            ast.Name: self._name,
            ast.Constant: self._constant,
            ast.Tuple: self._listed,
            ast.List: self._listed,
        }
        handler = handlers.get(type(node))
        if handler is None:
            raise self._fail(node, "this does not belong into a condition; use comparisons, and, or, not")
        return handler(node)

    def _logic(self, node: ast.BoolOp) -> Ask:
        parts = [self._compile(part) for part in node.values]
        if isinstance(node.op, ast.And):
            return lambda at: all(part(at) for part in parts)
        return lambda at: any(part(at) for part in parts)

    def _unary(self, node: ast.UnaryOp) -> Ask:
        inner = self._compile(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda at: not inner(at)
        if isinstance(node.op, ast.USub):
            return lambda at: -value if isinstance(value := inner(at), int | float) else None
        raise self._fail(node, "this sign means nothing here; use not")

    def _comparison(self, node: ast.Compare) -> Ask:
        terms = [self._compile(term) for term in (node.left, *node.comparators)]
        compare = []
        for op in node.ops:
            if type(op) not in _COMPARISONS:
                raise self._fail(node, "compare with == != < <= > >= or in")
            compare.append(_COMPARISONS[type(op)])

        def ask(at: Instant) -> bool:
            left = terms[0](at)
            for test, term in zip(compare, terms[1:], strict=True):
                right = term(at)
                if left is None or right is None:
                    return False
                try:
                    if not test(left, right):
                        return False
                except TypeError:
                    return False
                left = right
            return True

        return ask

    def _arithmetic(self, node: ast.BinOp) -> Ask:
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            raise self._fail(node, "only + and - are known")
        left, right = self._compile(node.left), self._compile(node.right)

        def ask(at: Instant) -> Any:
            a, b = left(at), right(at)
            return operation(a, b) if isinstance(a, int | float) and isinstance(b, int | float) else None

        return ask

    def _constant(self, node: ast.Constant) -> Ask:
        value = node.value
        if not isinstance(value, bool | int | float | str):
            raise self._fail(node, "only numbers, durations, words and True or False are known")
        return lambda at: value

    def _listed(self, node: ast.Tuple | ast.List) -> Ask:
        parts = [self._compile(part) for part in node.elts]
        return lambda at: tuple(part(at) for part in parts)

    def _name(self, node: ast.Name) -> Ask:
        name = node.id
        if name in self._durations:
            duration = self._durations[name]
            return lambda at: duration
        if self._in_node and name in NODE:
            self._mark_timed(NODE, name)
            get = NODE[name].get
            return lambda at: get(at.node, at)
        if name in PLAIN:
            self.timed |= PLAIN[name].timed
            return PLAIN[name].get
        if name in STATES or name in BODY_BY_KIND or name in NODE_WORDS:
            return lambda at: name
        if (nodeid := self._letter(name)) is not None:
            return lambda at: nodeid
        near = ", ".join([*PLAIN, *CALLS])
        raise self._fail(node, f"unknown word “{name}”; known are {near}, states such as GATHER, and kinds of events")

    def _mark_timed(self, table: dict[str, Any], name: str) -> None:
        self.timed |= table[name].timed

    def _letter(self, word: str) -> int | None:
        return next((info.nodeid for info in self.nodes if word and word in (info.letter, info.name)), None)

    def _nodeid(self, node: ast.AST) -> int:
        """The node meant by an argument: an id, a letter, a name."""
        found: int | None = None
        if isinstance(node, ast.Name):
            found = self._letter(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = self._letter(node.value)
        elif isinstance(node, ast.Constant) and any(info.nodeid == node.value for info in self.nodes):
            found = int(node.value)  # type: ignore[arg-type]
        if found is None:
            known = ", ".join(f"{info.nodeid} ({info.letter or info.name})" for info in self.nodes)
            raise self._fail(node, f"there is no such node; the cluster has {known}")
        return found

    def _attribute(self, node: ast.Attribute) -> Ask:
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id == "token":
            return self._of(node, TOKEN, lambda at: at.view.token)
        if isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name):
            if owner.func.id == "node" and len(owner.args) == 1:
                nodeid = self._nodeid(owner.args[0])
                return self._of(node, NODE, lambda at: at.view.nodes.get(nodeid))
            if owner.func.id == "write" and len(owner.args) == 1 and isinstance(owner.args[0], ast.Constant):
                number = owner.args[0].value
                return self._of(node, WRITE, lambda at: at.view.writes.get(number))  # type: ignore[arg-type]
        raise self._fail(node, "only node(…), write(…) and token have parts, e.g. node(2).state")

    def _of(self, node: ast.Attribute, table: dict[str, Any], owner: Callable[[Instant], Any]) -> Ask:
        if node.attr not in table:
            raise self._fail(node, f"no part “{node.attr}”; known are {', '.join(table)}")
        self._mark_timed(table, node.attr)
        get = table[node.attr].get

        def ask(at: Instant) -> Any:
            thing = owner(at)
            return None if thing is None else get(thing, at)

        return ask

    def _call(self, node: ast.Call) -> Ask:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in CALLS or node.keywords:
            raise self._fail(node, f"unknown call; known are {', '.join(f'{call}(…)' for call in CALLS)}")
        least, most = CALLS[name]
        if not least <= len(node.args) <= most:
            raise self._fail(node, f"{name}(…) takes {least if least == most else f'{least} to {most}'} values")
        if name in ("some", "every"):
            return self._over_nodes(node.args[0], name == "every")
        if name == "log":
            return self._log(node)
        if name == "happened":
            kind = node.args[0]
            if not isinstance(kind, ast.Name) or kind.id not in BODY_BY_KIND:
                raise self._fail(kind, f"no such kind of event; known are {', '.join(sorted(BODY_BY_KIND))}")
            return self._happened(kind.id, self._nodeid(node.args[1]) if len(node.args) == 2 else None)
        if name in ATTRIBUTES:
            nodeid, part = self._nodeid(node.args[0]), NODE[ATTRIBUTES[name]]
            self.timed |= part.timed
            return lambda at: None if (found := at.view.nodes.get(nodeid)) is None else part.get(found, at)
        raise self._fail(node, f"{name}(…) alone is no value; ask for a part, e.g. {name}(2).state or write(1).done")

    def _over_nodes(self, inner: ast.AST, every: bool) -> Ask:
        self._in_node = True
        ask = self._compile(inner)
        self._in_node = False
        choose = all if every else any
        return lambda at: choose(bool(ask(at._replace(node=node))) for node in at.view.nodes.values())

    def _log(self, node: ast.Call) -> Ask:
        words = node.args[0]
        if not isinstance(words, ast.Constant) or not isinstance(words.value, str):
            raise self._fail(words, 'log(…) wants words in quotes, e.g. log("failed")')
        text = words.value.lower()
        nodeid = self._nodeid(node.args[1]) if len(node.args) == 2 else None

        def ask(at: Instant) -> bool:
            event = at.event
            return (
                event is not None
                and type(event.body) is Log
                and nodeid in (None, event.node)
                and text in event.body.text.lower()
            )

        return ask

    def _happened(self, kind: str, nodeid: int | None) -> Ask:
        body = BODY_BY_KIND[kind]
        return lambda at: at.event is not None and type(at.event.body) is body and nodeid in (None, at.event.node)
