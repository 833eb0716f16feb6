"""Where faults can be planted in the gateware, and what they are.

A site is a piece of a file's text and what replaces it. Sites lie in functions that build hardware:
those that have a module ``m``. Each kind of fault is one that a person might write.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Site", "sites_of"]

_BINARY = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
           ast.LShift: ("<<", ">>")}
_COMPARE = {ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Lt: ("<", "<="),
            ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")}


@dataclass(frozen=True)
class Site:
    """A fault: `kind`, the text from `start` to `end` of a file, and what stands there instead.

    `name` says the same however lines move: file, function, kind, text, and which of several equal
    ones in the function it is.
    """

    file: str
    function: str
    line: int
    kind: str
    start: int
    end: int
    old: str
    new: str
    number: int = 0

    @property
    def name(self) -> str:
        """A line of text that names the fault."""
        text = " ".join(self.old.split())
        return f"{self.file}:{self.function} {self.kind} `{text}` #{self.number}"

    def planted(self, source: str) -> str:
        """Return a file's text with the fault in it."""
        assert source[self.start:self.end] == self.old
        return source[:self.start] + self.new + source[self.end:]


def sites_of(path: Path, file: str) -> list[Site]:
    """Return all sites of a file, in order.

    Parameters
    ----------
    path : Path
    file : str
        What the file is called in names.
    """
    source = path.read_text()
    finder, counts, found = _Finder(source), {}, []
    for function in _builders(ast.parse(source)):
        for kind, node, new in finder.faults(function):
            start, end = finder.span(node)
            old = source[start:end]
            key = function.name, kind, old
            counts[key] = counts.get(key, -1) + 1
            found.append(Site(file, function.name, node.lineno, kind, start, end, old, new,
                              counts[key]))
    unique = {(site.start, site.end, site.new): site for site in found}
    return sorted(unique.values(), key=lambda site: (site.start, site.end))


def _builders(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Yield the functions that have a module ``m``, inner ones as part of outer ones."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in node.args.args]
            if "m" in names or node.name == "elaborate":
                yield node
                continue
        yield from _builders(node)


class _Finder:
    """Find faults in functions of one file."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node's text begins and ends; sources are ASCII where there are sites."""
        return (self._place(node.lineno, node.col_offset),
                self._place(node.end_lineno, node.end_col_offset))

    def _place(self, line: int, column: int) -> int:
        first = self._lines[line - 1]
        text = self._source[first:self._lines[line]]
        return first + len(text.encode()[:column].decode())

    def _text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self._source[start:end]

    def faults(self, function: ast.FunctionDef) -> Iterator[tuple[str, ast.AST, str]]:
        """Yield kind, node and new text of every fault."""
        for node in ast.walk(function):
            if isinstance(node, ast.AugAssign) and self._drives(node):
                yield from self._lost(node)
            elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
                yield from self._operator(node, node.left, node.right, _BINARY[type(node.op)])
            elif isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARE:
                right = node.comparators[0]
                yield from self._operator(node, node.left, right, _COMPARE[type(node.ops[0])])
            elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
                yield "not inverted", node, f"({self._text(node.operand)})"
            elif isinstance(node, ast.Call):
                yield from self._call(node)

    @staticmethod
    def _drives(node: ast.AugAssign) -> bool:
        """Whether it is ``m.d.sync += ...`` or the like."""
        return isinstance(node.op, ast.Add) and isinstance(node.target, (ast.Attribute,
                                                                         ast.Subscript))

    def _lost(self, node: ast.AugAssign) -> Iterator[tuple[str, ast.AST, str]]:
        """Leave out an assignment."""
        value = node.value
        if isinstance(value, ast.List):
            for part in value.elts:
                if isinstance(part, ast.Call) and self._text(part.func).endswith(".eq"):
                    yield "left out", part, "*[]"
        elif isinstance(value, ast.Call) and self._text(value.func).endswith(".eq"):
            yield "left out", value, "[]"

    def _operator(
        self, node: ast.AST, left: ast.AST, right: ast.AST, pair: tuple[str, str]
    ) -> Iterator[tuple[str, ast.AST, str]]:
        between = self._source[self.span(left)[1]:self.span(right)[0]]
        if between.count(pair[0]) == 1:
            changed = between.replace(*pair)
            yield f"{pair[0]} is {pair[1]}", node, (
                self._text(node).replace(self._text(left) + between, self._text(left) + changed, 1))

    def _call(self, node: ast.Call) -> Iterator[tuple[str, ast.AST, str]]:
        name = self._text(node.func)
        if name == "Mux" and len(node.args) == 3:
            condition, then, other = map(self._text, node.args)
            yield "branches swapped", node, f"Mux({condition}, {other}, {then})"
        elif name in ("m.If", "m.Elif") and len(node.args) == 1:
            yield "condition inverted", node, f"{name}(({self._text(node.args[0])}) == 0)"
        elif name.endswith(".eq") and len(node.args) == 1:
            value = node.args[0]
            if isinstance(value, ast.Constant) and type(value.value) is int:
                yield "other constant", value, str(1 - value.value if value.value in (0, 1)
                                                   else value.value + 1)
