"""The source as syntax trees: files, identifiers, names in strings."""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hdl", "pyhw", "sim")


@dataclass
class Source:
    """One file of the source and its syntax tree, every node with its parent."""

    path: Path
    name: str
    module: str
    text: str
    nodes: list[ast.AST] = field(default_factory=list)
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tree = ast.parse(self.text)
        self.nodes = list(ast.walk(tree))
        self.parents = {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}


def sources(root: Path) -> list[Source]:
    """Return the files of the packages; links inside them are not followed."""
    inside = "pyhw." if (root / "pyhw" / "hdl").exists() else ""
    found = []
    for package in PACKAGES:
        for folder, folders, files in os.walk(root / package):
            folders[:] = sorted(f for f in folders if not (Path(folder) / f).is_symlink())
            for file in sorted(files):
                path = Path(folder) / file
                if path.suffix == ".py":
                    name = path.relative_to(root).as_posix()
                    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                    prefix = "" if package == "pyhw" else inside
                    found.append(Source(path, name, prefix + module,
                                        path.read_text(encoding="utf-8")))
    return found


def words(name: str) -> set[str]:
    """Split an identifier at points, underscores, hyphens and capitals: `lone_l1` has `l1`."""
    parts = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])", name)
    return {part.lower() for part in parts}


def last_name(node: ast.AST) -> str:
    """Return the last name of an expression: `config` of ``self._config``."""
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_").lower()
    if isinstance(node, ast.Call):
        return last_name(node.func)
    return node.id.strip("_").lower() if isinstance(node, ast.Name) else ""


def identifiers(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Give every identifier of a file: names, attributes, arguments, definitions, imports."""
    for node in source.nodes:
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name, node
            case ast.keyword(arg=str(name)):
                yield name, node
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.alias(name=name):
                yield name, node
            case ast.ImportFrom(module=str(name)):
                yield name, node


def strings(source: Source) -> Iterator[tuple[str, ast.Constant]]:
    """Give the strings that can be names: without blanks, which text for people has."""
    for node in source.nodes:
        match node:
            case ast.Constant(value=str(text)) if text and not re.search(r"\s", text):
                yield text, node
