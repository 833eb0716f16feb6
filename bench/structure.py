"""How well the structure holds: ``python -m bench.structure [--old FOLDER]``.

Counts in how many files each engine and each option of the gateware stands, the widest record that
a component's port takes, type tests on operations outside their modules, long files and long
`elaborate` functions, import circles, and what starting costs. All of it is read from the source by
its syntax tree, but the ports, which are those of elaborated presets, and the seconds. With
``--old`` the same is counted in another checkout, of this layout or of the one before, and printed
beside it. Exits with 1 if a limit is broken; ``--files`` names the files behind each count.
"""

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hdl", "pyhw", "sim")
MOST_ENGINE_FILES, MOST_OPTION_FILES = 8, 3
MOST_LINES, MOST_ELABORATE, MOST_SECONDS = 250, 120, 0.3

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


def names_l1(source: Source) -> bool:
    """`l1` has one meaning, wherever it stands."""
    return (any("l1" in words(name) for name, _ in identifiers(source))
            or any("l1" in words(text) for text, _ in strings(source)))


def _names_by_context(source: Source, word: str, classes: tuple[str, ...]) -> bool:
    upper = word.upper()
    for name, node in identifiers(source):
        if name in classes or name == upper:
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
    if re.match(r"pyhw/(graph/ops|lowering)", source.name):
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


_PORTS = """
import importlib, json, sys
from pathlib import Path
from amaranth.hdl import Fragment
from amaranth.lib import data, wiring
prefix = "pyhw.hdl" if Path("pyhw/hdl").exists() else "hdl"
made = []
plain = wiring.Component.__init__
def init(self, *args, **kwargs):
    plain(self, *args, **kwargs)
    made.append(self)
wiring.Component.__init__ = init
def load(*names):
    for name in names:
        try:
            return importlib.import_module(f"{prefix}.{name}")
        except ModuleNotFoundError:
            pass
presets = load("presets", "config").PRESETS
top = load("top.accelerator", "accelerator").Accelerator
best = (0, "")
for config in presets.values():
    made.clear()
    Fragment.get(top(config), None)
    for one in made:
        for path, member, value in one.signature.flatten(one):
            shape = member.shape
            if isinstance(shape, type) and issubclass(shape, data.Struct):
                shape = data.Layout.cast(shape)
            if isinstance(shape, data.StructLayout):
                best = max(best, (shape.size, f"{type(one).__name__}.{'.'.join(map(str, path))}"))
print(json.dumps(best))
"""
_STARTS = """
import json, subprocess, sys, time
from pathlib import Path
def best(*command):
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        spent.append(time.perf_counter() - started)
    return min(spent)
nothing = best("-c", "pass")
seen = subprocess.run([sys.executable, "-c", '''
import sys, pyhw
from pyhw.cli.main import main
main(["--help"])
print("torch loaded" if "torch" in sys.modules else "no torch")'''],
    check=True, text=True, capture_output=True).stdout
print(json.dumps([best("-c", "import pyhw"), best("-m", "pyhw", "--help"), nothing,
                  "torch loaded" in seen]))
"""


def measured(root: Path, script: str) -> list:
    """Run a script in a checkout and return the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, text=True, check=False, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"})
    if done.returncode:
        sys.exit(f"error: {root}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


@dataclass
class Row:
    """A line of the table: what is counted, how much, the most allowed, and what is behind it."""

    what: str
    value: float
    limit: float | None = None
    behind: list[str] = field(default_factory=list)
    form: str = "{:,.0f}"

    @property
    def broken(self) -> bool:
        """Whether the limit is exceeded."""
        return self.limit is not None and self.value > self.limit


def rows_of(root: Path) -> list[Row]:
    """Count everything in a checkout."""
    found = sources(root)
    gateware = [source for source in found if source.name.startswith("hdl/")]
    rows = []
    for engine, test in ENGINES.items():
        behind = [source.name for source in found if test(source)]
        rows.append(Row(f"files that name the {engine} engine", len(behind), MOST_ENGINE_FILES,
                        behind))
    for option, (anywhere, fields) in OPTIONS.items():
        behind = [source.name for source in gateware if stands_in(source, anywhere, fields)]
        rows.append(Row(f"gateware files with the option: {option}", len(behind),
                        MOST_OPTION_FILES, behind))
    width, port = measured(root, _PORTS)
    rows.append(Row("widest record port, bits", width, None, [port]))
    classes = operations(found)
    tests = {source.name: type_tests(source, classes) for source in found}
    rows.append(Row("type tests on operations outside their modules", sum(tests.values()), None,
                    [f"{name} ({count})" for name, count in tests.items() if count]))
    lines = {source.name: len(source.text.splitlines()) for source in gateware}
    long = [f"{name} ({count})" for name, count in lines.items() if count > MOST_LINES]
    rows.append(Row(f"gateware files of more than {MOST_LINES} lines", len(long), 0, long))
    long = [f"{place} ({length})" for source in gateware
            for place, length in long_elaborates(source).items()]
    rows.append(Row(f"`elaborate` of more than {MOST_ELABORATE} lines", len(long), 0, long))
    modules = {source.module for source in found}
    round_trips = circles({source.module: imports(source, modules) for source in found})
    rows.append(Row("import circles", len(round_trips), 0, [" - ".join(c) for c in round_trips]))
    importing, helping, nothing, torch = measured(root, _STARTS)
    note = [f"of which {nothing:.2f} s start Python"]
    rows.append(Row("seconds of `import pyhw`", importing, MOST_SECONDS, note, "{:.2f}"))
    rows.append(Row("seconds of `pyhw --help`", helping, MOST_SECONDS, note, "{:.2f}"))
    rows.append(Row("torch loaded by either", torch, 0))
    return rows


def table(now: list[Row], before: list[Row] | None) -> str:
    """Return the counts as a table in Markdown."""
    head = ["", *["before"] * (before is not None), "now", "limit"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for number, row in enumerate(now):
        limit = "" if row.limit is None else f"{row.limit:g}"
        cells = [row.what, *([] if before is None else [row.form.format(before[number].value)]),
                 row.form.format(row.value) + " !" * row.broken, limit]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Print the table; return 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--old", type=Path, help="a checkout to count in as well")
    parser.add_argument("--files", action="store_true", help="name the files behind each count")
    given = parser.parse_args()
    if given.old is not None and not (given.old / "pyhw").is_dir():
        parser.error(f"{given.old} is no checkout of pyhw")
    now = rows_of(ROOT)
    print(table(now, None if given.old is None else rows_of(given.old.resolve())))
    if given.files:
        for row in now:
            print(f"\n{row.what}:", *(row.behind or ["none"]), sep="\n  ", flush=True)
    broken = [row for row in now if row.broken]
    for row in broken:
        print(f"error: {row.what}: {row.form.format(row.value)}, at most {row.limit:g}",
              file=sys.stderr)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
