"""Plant faults in the gateware and see whether the tests notice: ``python -m bench.mutants``.

A fault is drawn with a seed from `bench.mutation_sites`, planted in a copy of the repository, and
the tests run that `make test` runs, nearest first: those that name the module, those of its room,
those of all gateware, then simulated networks. The first that fails ends it. Results are added to a
file line by line, so that an interrupted run goes on; a fault that does nothing stands in
``bench/equivalent_mutants.toml`` with the reason.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path

from .mutation_sites import Site, sites_of

ROOT = Path(__file__).resolve().parent.parent
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")
COPIED = ("hdl", "pyhw", "sim", "tests", "bench", "docs", "examples", "pyproject.toml", "README.md",
          "Makefile", "CHANGELOG.md", "LICENSE")  # fmt: skip
NETWORKS = ("tests/sim/test_network.py", "tests/sim/test_moves.py", "tests/sim/test_serial.py",
            "tests/sim/test_axi.py")  # fmt: skip
STAGE_SECONDS = 900
"""A stage that takes longer is taken for a machine that hangs, which a test would notice."""


def all_sites(files: list[str]) -> list[Site]:
    """Return the sites of all files of the gateware, or of those whose name begins so."""
    found = []
    for path in sorted((ROOT / "hdl").rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if not files or any(file.startswith(wanted) for wanted in files):
            found += sites_of(path, file)
    return found


def drawn(sites: list[Site], count: int, seed: int) -> list[Site]:
    """Draw faults: every file has some, and more the more sites it has."""
    rng, by_file = random.Random(seed), {}
    for site in sites:
        by_file.setdefault(site.file, []).append(site)
    chosen = [rng.choice(by_file[file]) for file in sorted(by_file)]
    rest = sorted(set(sites) - set(chosen), key=lambda site: (site.file, site.start, site.new))
    rng.shuffle(rest)
    return (chosen + rest)[:count]


def stages(root: Path, file: str) -> list[list[str]]:
    """Return the tests to run for a file, stage by stage, none twice."""
    module = ".".join(("pyhw", *Path(file).with_suffix("").parts))
    tests = sorted(path.relative_to(root).as_posix()
                   for path in (root / "tests").rglob("test_*.py"))
    name = f"test_{Path(file).stem}.py"
    naming = [test for test in tests if module in (root / test).read_text()
              and test.startswith("tests/hdl")]
    naming.sort(key=lambda test: not test.endswith(name))
    room = [test for test in tests if Path(test).parent == Path("tests") / Path(file).parent]
    gateware = [test for test in tests if test.startswith("tests/hdl")]
    done, result = set(), []
    for stage in (naming, room, gateware, list(NETWORKS)):
        fresh = [test for test in dict.fromkeys(stage) if test not in done and test in tests]
        done.update(fresh)
        if fresh:
            result.append(fresh)
    return result


def tests_fail(root: Path, tests: list[str], cache: Path) -> str:
    """Run tests; return the first that failed, ``hangs``, or nothing if all passed."""
    environment = os.environ | {"PYTHONPATH": str(root), "PYHW_CACHE": str(cache),
                                "OMP_NUM_THREADS": "1"}  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header",
         *tests], cwd=root, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    try:
        output = process.communicate(timeout=STAGE_SECONDS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "hangs"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode == 0:
        return ""
    lines = [line.split(" - ")[0] for line in output.splitlines()
             if line.startswith(("FAILED", "ERROR"))]
    return lines[0] if lines else f"exit status {process.returncode}"


def killed_by(site: Site, root: Path, cache: Path) -> str:
    """Plant a fault in a copy of the repository; return what noticed it, or nothing."""
    path = root / site.file
    source = path.read_text()
    path.write_text(site.planted(source))
    try:
        for tests in stages(root, site.file):
            if found := tests_fail(root, tests, cache):
                return found
        return ""
    finally:
        path.write_text(source)
        for made in ("verilog", "simulators"):
            shutil.rmtree(cache / made, ignore_errors=True)


def copy_repository(target: Path) -> None:
    """Copy what tests need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True,
                            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif source.exists():
            shutil.copy(source, target / name)


def report(sites: list[Site], results: dict[str, str], equivalent: dict[str, str]) -> int:
    """Print what was noticed, file by file, and what was not; return the exit status."""
    tried = [site for site in sites if site.name in results]
    counted = [site for site in tried if site.name not in equivalent]
    killed = Counter(site.file for site in counted if results[site.name])
    total = Counter(site.file for site in counted)
    print("| file | faults | noticed |\n|---|---:|---:|")
    for file in sorted(total):
        print(f"| {file} | {total[file]} | {killed[file]} |")
    share = sum(killed.values()) / max(1, len(counted))
    print(f"| all | {len(counted)} | {sum(killed.values())} ({share:.1%}) |")
    print(f"\n{len(tried) - len(counted)} more do nothing, {EQUIVALENT.name} says why")
    survivors = [site for site in counted if not results[site.name]]
    for site in survivors:
        print(f"survives: {site.name} -> `{' '.join(site.new.split())}` (line {site.line})")
    return 0 if share >= 0.95 else 1


def main() -> int:
    """Run what has not been run, and report on all that was drawn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="files or folders, such as hdl/port; all of hdl")
    parser.add_argument("--count", type=int, default=300, help="faults drawn (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="begin no further fault after so long")
    parser.add_argument("--again", action="store_true", help="run what survived once more")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "mutants.jsonl")
    parser.add_argument("--report", action="store_true", help="run nothing")
    args = parser.parse_args()
    sites = drawn(all_sites(args.files), args.count, args.seed)
    results = {}
    if args.results.exists():
        for line in args.results.read_text().splitlines():
            entry = json.loads(line)
            results[entry["name"]] = entry["by"]
    equivalent = tomllib.loads(EQUIVALENT.read_text()).get("equivalent", {})
    todo = [] if args.report else [
        site for site in sites if site.name not in equivalent
        and (site.name not in results or (args.again and not results[site.name]))]
    end = time.monotonic() + 60 * args.minutes if args.minutes else float("inf")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root, cache = Path(folder) / "repository", Path(folder) / "cache"
        root.mkdir()
        if todo:
            copy_repository(root)
        for number, site in enumerate(todo, 1):
            if time.monotonic() > end:
                print(f"{len(todo) - number + 1} are left; the same command goes on", flush=True)
                break
            started = time.monotonic()
            results[site.name] = by = killed_by(site, root, cache)
            with args.results.open("a") as file:
                file.write(json.dumps({"name": site.name, "by": by}) + "\n")
            print(f"{number}/{len(todo)} {site.name}: {by or 'SURVIVES'} "
                  f"({time.monotonic() - started:.0f} s)", flush=True)
    return report(sites, results, equivalent)


if __name__ == "__main__":
    sys.exit(main())
