"""In which files an engine, an option of the gateware or a type of operation stands."""

import ast
import re
from collections.abc import Callable

from .source import Source, identifiers, last_name, strings, words

CONFIGS = {"config", "chosen", "build", "given", "fitted", "plain", "c"}
"""Last names of expressions that are a configuration or the nested part `build` of one."""
OPTIONS: dict[str, tuple[set[str], set[str]]] = {
    "pipeline links": ({"spread"}, {"links"}),
    "depthwise unit": (set(), {"taps", "depthwise"}),
    "memory technology": ({"distributed", "single_port"}, {"memory_kind"}),
    "two stages at once": (set(), {"overlap"}),
    "images copied or unfolded": ({"copies_images", "ImageCopy"}, {"copies"}),
}
"""For each option the names that mean it anywhere, and those that mean it as a field of a
configuration."""


def names_l1(source: Source) -> bool:
    """`l1` has one meaning, wherever it stands."""
    return (any("l1" in words(name) for name, _ in identifiers(source))
            or any("l1" in words(text) for text, _ in strings(source)))


def _names_by_context(source: Source, word: str, classes: tuple[str, ...]) -> bool:
    upper = word.upper()
    for name, node in identifiers(source):
        if name in classes:
            return True
        if name == upper and isinstance(node, ast.Attribute) and last_name(node.value) == "engine":
            return True
        if name == word and isinstance(node, ast.Attribute) and last_name(node.value) in (
                CONFIGS | {"engines", "needs"}):
            return True
        if isinstance(node, ast.ImportFrom | ast.alias) and f"engines.{word}" in name:
            return True
    for text, node in strings(source):
        if text == upper or words(text) >= {word, "engine"}:
            return True
        if text != word:
            continue
        parent = source.parents[node]
        match parent:
            case ast.Compare() | ast.IfExp() | ast.MatchValue():
                return True
            case ast.keyword(arg="term" | "engine"):
                return True
            case ast.Tuple(elts=others) | ast.List(elts=others) | ast.Set(elts=others):
                if any(isinstance(o, ast.Constant) and o.value == "l1" for o in others):
                    return True
            case ast.Dict(keys=keys, values=values):
                owner = source.parents[parent]
                if any(isinstance(o, ast.Constant) and o.value in ("l1", "term")
                       for o in (*keys, *values)) or "engine" in last_name(owner):
                    return True
            case ast.Call(func=func) if "engine" in ast.unparse(func).lower():
                return True
            case ast.Subscript(value=value) if "engine" in ast.unparse(value).lower():
                return True
    return False


def names_shift(source: Source) -> bool:
    """`shift` is an engine as ``Engine.SHIFT``, ``config.shift``, a term, or beside `l1`."""
    return _names_by_context(source, "shift", ("ShiftEngine", "ShiftCode", "lone_shift"))


def names_pool(source: Source) -> bool:
    """`pool` is an engine as ``Engine.POOL`` or ``PoolEngine``, not as operation or setting."""
    for name, node in identifiers(source):
        imported = isinstance(node, ast.ImportFrom | ast.alias) and "engines.pool" in name
        if name in ("POOL", "PoolEngine") or imported:
            return True
    return any(text == "POOL" or words(text) >= {"pool", "engine"} for text, _ in strings(source))


ENGINES: dict[str, Callable[[Source], bool]] = {
    "L1": names_l1, "SHIFT": names_shift, "POOL": names_pool,
}


def stands_in(source: Source, anywhere: set[str], fields: set[str]) -> bool:
    """Tell whether an option is read, passed or declared in a file."""
    for name, node in identifiers(source):
        if name in anywhere:
            return True
        if name not in fields:
            continue
        if isinstance(node, ast.Attribute) and last_name(node.value) in CONFIGS:
            return True
        declared = isinstance(node, ast.Name) and isinstance(source.parents[node], ast.AnnAssign)
        if declared and source.path.stem in ("config", "build"):
            return True
    return False


def operations(found: list[Source]) -> set[str]:
    """Return the classes of the graph's operations, by the modules that declare them."""
    names: set[str] = set()
    for source in found:
        if re.fullmatch(r"pyhw/graph/ops(/\w+)?\.py", source.name):
            names |= {node.name for node in source.nodes if isinstance(node, ast.ClassDef)
                      and any(last_name(base) in ("record", "op", "operation", "arithmetic",
                                                  "windowed") for base in node.bases)}
    return names - {"Graph"}


def type_tests(source: Source, classes: set[str]) -> int:
    """Count the `isinstance` tests and class patterns on operations in a file."""
    if re.match(r"pyhw/(graph/ops|compiler/lowering|lowering)", source.name):
        return 0
    count = 0
    for node in source.nodes:
        if isinstance(node, ast.Call) and last_name(node.func) == "isinstance":
            tested = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            tested |= {p.attr for p in ast.walk(node.args[1]) if isinstance(p, ast.Attribute)}
            count += bool(tested & classes)
        elif isinstance(node, ast.MatchClass):
            count += ast.unparse(node.cls).rpartition(".")[2] in classes
    return count
