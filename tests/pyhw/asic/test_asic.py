"""The folder for silicon: it lints, simulates like the accelerator, and starts without contents."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from amaranth.lib import memory

from pyhw.asic import write_asic
from pyhw.cli import main as cli
from pyhw.compiler import compile_graph
from pyhw.errors import UserError
from pyhw.graph.execute import run as execute
from pyhw.hdl.common.library import WrappedLibrary
from pyhw.simulation.network import Case, simulate
from pyhw.tools import find_verilator
from tests.pyhw.cli.test_input import FEW_LANES, TINY, small_graph, small_images

RAMS = ["pyhw_ram.v", "pyhw_ram_macro.v", "pyhw_ram_registers.v"]


@pytest.fixture(scope="module", params=["bytes", "axi"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("asic") / request.param
    write_asic(FEW_LANES, path, interface=request.param)
    return path


def lint(folder, *options):
    tool = find_verilator()
    return subprocess.run(
        [*tool.command, "--lint-only", "-Wall", "--top-module", "top", *options, "few.v", *RAMS],
        cwd=folder, env=tool.environment(), capture_output=True, text=True, check=False)


def test_all_that_the_readme_names_is_there(folder):
    text = (folder / "README.md").read_text()
    assert set(re.findall(r"^\| `([\w.]+)`", text, re.M)) | {"README.md"} == {
        path.name for path in folder.iterdir()}


def test_it_lints_clean_with_the_waivers_and_not_without(folder, verilator):
    done = lint(folder, "lint.vlt")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Warning" not in done.stderr
    found = set(re.findall(r"%Warning-(\w+)", lint(folder).stderr))
    waived = set(re.findall(r"-rule (\w+)", (folder / "lint.vlt").read_text()))
    assert found
    assert found <= waived
    memories = lint(folder).stderr.count("pyhw_ram")
    assert memories == 0, "the memories' own files must need no waiver"


def test_it_has_no_initial_values_and_no_memory_of_its_own(folder):
    text = (folder / "few.v").read_text()
    assert not re.search(r"\binitial\b", text)
    assert not re.search(r"^\s*reg\b[^;]*=", text, re.M)
    assert not re.search(r"^\s*reg (\[[^\]]*\] )?\S+ +\[\d+:0\];", text, re.M)


def test_it_runs_a_network_as_the_executor_from_unknown_contents(folder, icarus):
    # In Icarus every register and memory is unknown at first.
    graph, images = small_graph(), small_images(2)
    text = "".join((folder / name).read_text() for name in ["few.v", *RAMS])
    result = simulate(
        [Case(graph=graph, program=compile_graph(graph, FEW_LANES, 1), images=images)], FEW_LANES,
        verilog=text, simulator=icarus)[0]
    assert result.difference is None
    assert np.array_equal(result.outputs, execute(graph, images.astype(np.int64)))


def test_memories_are_listed_with_their_sizes(folder):
    listed = {tuple(map(int, row)) for row in re.findall(
        r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", (folder / "README.md").read_text(), re.M)}
    text = (folder / "few.v").read_text()
    used = re.findall(r"pyhw_ram #\((.*?)\) ", text, re.S)
    kinds = {tuple(int(re.search(rf"{name}\(32'd(\d+)\)", use)[1])
                   for name in ("WIDTH", "DEPTH", "GRANULE")) for use in used}
    assert {row[:3] for row in listed} == kinds
    scratch = (8, FEW_LANES.memory.scratch_bytes // FEW_LANES.banks, 8)
    assert (*scratch, FEW_LANES.banks) in listed


def test_flow_and_constraints_name_clock_and_files(folder):
    flow = json.loads((folder / "config.json").read_text())
    clock = "aclk" if folder.name == "axi" else "clk"
    assert (flow["DESIGN_NAME"], flow["CLOCK_PORT"], flow["CLOCK_PERIOD"]) == ("top", clock, 20.0)
    for name in [*flow["VERILOG_FILES"], flow["PNR_SDC_FILE"], flow["SIGNOFF_SDC_FILE"]]:
        assert (folder / name.removeprefix("dir::")).is_file()
    assert f"-period 20 [get_ports {clock}]" in (folder / "few.sdc").read_text()
    assert re.search(rf"^module top\(.*\b{clock}\b", (folder / "few.v").read_text(), re.M | re.S)


def test_distributed_memories_become_synchronous_ones(tmp_path):
    wide = FEW_LANES.changed(distributed=True)
    write_asic(wide, tmp_path / "a")
    write_asic(FEW_LANES, tmp_path / "b")
    assert (tmp_path / "a" / "few.v").read_text() == (tmp_path / "b" / "few.v").read_text()


@pytest.mark.parametrize("change", [
    lambda store: store.write_port(), lambda store: store.read_port(domain="comb")])
def test_memories_that_silicon_has_not_are_refused(change):
    store = memory.Memory(shape=8, depth=4, init=[])
    store._MustUse__silence = True  # it is never part of a design
    store.write_port()
    change(store)
    with pytest.raises(ValueError, match="must have one write port, synchronous reads"):
        WrappedLibrary("x").get_memory(store)


def test_pyhw_generate_writes_the_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert cli.main(["generate", "--preset", "tiny", "--asic", "empty", "--period", "5"]) == 0
    assert "9 files" in capsys.readouterr().out
    assert "-period 5 " in Path("empty/tiny.sdc").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert json.loads(Path("empty/tiny.json").read_text())["name"] == TINY.name


@pytest.mark.parametrize(("options", "message"), [
    (("--asic", "full"), "full must be a new folder, or an empty one"),
    (("--asic", "full/file"), "full/file must be a new folder, or an empty one"),
    (("--asic", "full/file/below"), "cannot write full/file/below"),
    (("--asic", "new", "--out", "a.v"), "leave out --out and --fusesoc"),
    (("--asic", "new", "--fusesoc"), "leave out --out and --fusesoc"),
    (("--asic", "new", "--period", "0"), "must be from 0.1 to 1,000,000 ns, not 0"),
    (("--asic", "new", "--period", "nan"), "must be from 0.1 to 1,000,000 ns, not nan"),
    (("--period", "5"), "--period is for --asic"),
])
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full/file").write_text("mine")
    assert cli.main(["generate", "--preset", "tiny", *options]) != 0
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "full", "full/file"]


def test_check_happens_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("")
    monkeypatch.setattr("pyhw.asic.folder.generate_rtlil", None)
    with pytest.raises(UserError, match="must be a new folder"):
        write_asic(TINY, tmp_path)
