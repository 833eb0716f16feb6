"""The tool that plants faults: what it finds, plants, draws and reports."""

import ast
import json
import subprocess
import sys
import textwrap

import pytest

from bench import mutants
from bench.mutation_sites import sites_of

SOURCE = textwrap.dedent("""
    class Counter:
        def elaborate(self, platform):
            m = Module()
            with m.If(self.on & ~self.full):
                m.d.sync += [self.count.eq(self.count + 1), self.more.eq(Mux(a == b, c, d))]
            with m.Else():
                m.d.sync += self.count.eq(0)
            return m

    def helper(count):
        return count + 1
""")
FAULTS = {
    ("condition inverted", "m.If((self.on & ~self.full) == 0)"),
    ("& is |", "self.on | ~self.full"),
    ("not inverted", "(self.full)"),
    ("left out", "*[]"),
    ("left out", "[]"),
    ("+ is -", "self.count - 1"),
    ("branches swapped", "Mux(a == b, d, c)"),
    ("== is !=", "a != b"),
    ("other constant", "1"),
}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "counter.py"
    path.write_text(SOURCE)
    return path


def test_every_kind_of_fault_is_found_in_what_builds_hardware_and_nowhere_else(source):
    sites = sites_of(source, "hdl/counter.py")
    assert {(site.kind, site.new) for site in sites} == FAULTS
    assert {site.function for site in sites} == {"elaborate"}
    assert len({site.name for site in sites}) == len(sites)


def test_a_planted_fault_changes_one_place_and_can_be_parsed(source):
    for site in sites_of(source, "hdl/counter.py"):
        planted = site.planted(SOURCE)
        ast.parse(planted)
        assert planted != SOURCE
        assert planted[: site.start] == SOURCE[: site.start]
        assert planted.endswith(SOURCE[site.end :])


def test_names_do_not_change_when_lines_move(source):
    before = [site.name for site in sites_of(source, "hdl/counter.py")]
    source.write_text("# a comment\n\n" + SOURCE)
    assert [site.name for site in sites_of(source, "hdl/counter.py")] == before


def test_draws_have_every_file_and_are_the_same_again():
    sites = mutants.all_sites([])
    first, again = (mutants.drawn(sites, 300, 1) for _ in range(2))
    assert first == again != mutants.drawn(sites, 300, 2)
    assert {site.file for site in first} == {site.file for site in sites}
    assert len(sites) > 2000


def test_nearest_tests_come_first_and_none_twice():
    found = mutants.stages(mutants.ROOT, "hdl/port/uart.py")
    assert found[0][0] == "tests/hdl/port/test_uart.py"
    assert found[-1] == list(mutants.NETWORKS)
    flat = [test for stage in found for test in stage]
    assert len(set(flat)) == len(flat)


def test_survivors_are_named_and_equivalent_ones_are_not_counted(capsys):
    sites = mutants.drawn(mutants.all_sites(["hdl/port/uart.py"]), 4, 1)
    names = [site.name for site in sites]
    results = dict.fromkeys(names, "FAILED test") | {names[0]: "", names[1]: ""}
    assert mutants.report(sites, results, {names[1]: "why"}) == 1
    output = capsys.readouterr().out
    assert f"survives: {names[0]}" in output
    assert names[1] not in output
    assert "| all | 3 | 2 (66.7%) |" in output
    assert mutants.report(sites, results | {names[0]: "FAILED test"}, {names[1]: "why"}) == 0


def test_faults_are_noticed_recorded_and_not_run_again(tmp_path):
    results = tmp_path / "found.jsonl"
    command = [sys.executable, "-m", "bench.mutants", "hdl/port/crc32.py", "--count", "1",
               "--results", str(results)]  # fmt: skip
    first = subprocess.run(command, cwd=mutants.ROOT, capture_output=True, text=True, check=False)
    (entry,) = map(json.loads, results.read_text().splitlines())
    assert first.returncode == 0, first.stdout + first.stderr
    assert entry["by"].startswith("FAILED tests/hdl/port/test_crc32.py")
    again = subprocess.run(command, cwd=mutants.ROOT, capture_output=True, text=True, check=False)
    assert "1/1" not in again.stdout
    assert len(results.read_text().splitlines()) == 1
