"""Long `elaborate` functions, and modules that import each other in circles."""

import ast
import sys

from .source import Source

MOST_ELABORATE = 120
"""Lines that an `elaborate` may have."""


def long_elaborates(source: Source) -> dict[str, int]:
    """Return the lines of every `elaborate` that is too long, by file and line."""
    return {f"{source.name}:{node.lineno}": length for node in source.nodes
            if isinstance(node, ast.FunctionDef) and node.name == "elaborate"
            and (length := (node.end_lineno or 0) - node.lineno + 1) > MOST_ELABORATE}


def imports(source: Source, modules: set[str]) -> set[str]:
    """Return the modules that a file imports anywhere but for the type checker."""
    package = source.module if source.path.stem == "__init__" else (
        source.module.rpartition(".")[0])
    skipped = {inner for node in source.nodes
               if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
               for statement in node.body for inner in ast.walk(statement)}
    found: set[str] = set()
    for node in source.nodes:
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[:len(parts) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in modules else base)
    return (found & modules) - {source.module}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that import each other (Tarjan's strong components)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(one: str) -> None:
        number[one] = low[one] = len(number)
        stack.append(one)
        for other in sorted(graph[one]):
            if other not in number:
                visit(other)
                low[one] = min(low[one], low[other])
            elif other in stack:
                low[one] = min(low[one], number[other])
        if low[one] == number[one]:
            at = stack.index(one)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    sys.setrecursionlimit(10_000)
    for one in sorted(graph):
        if one not in number:
            visit(one)
    return found
