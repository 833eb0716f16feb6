"""The simulation runner and the byte stream drivers, on a design that returns what it gets."""

import os
import signal
import subprocess
import sys
import time

import pytest
from amaranth.back import verilog
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from pyhw.errors import MissingTool, UserError
from pyhw.simulation.launch import run_bench

BENCH = "pyhw.sim.tb_stream_echo"
PARAMETERS = {"count": 300, "gap": 0.0, "stall": 0.0, "idle_cycles": 2000}


class Echo(wiring.Component):
    """Return every byte, with a defect if one is asked for."""

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def __init__(self, defect=None):
        self._defect = defect
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=8, depth=16)
        wiring.connect(m, wiring.flipped(self.rx), fifo.w_stream)
        wiring.connect(m, fifo.r_stream, wiring.flipped(self.tx))
        beat = Signal(4)
        m.d.sync += beat.eq(beat + 1)
        if self._defect == "payload":
            m.d.comb += self.tx.payload.eq(fifo.r_stream.payload ^ (beat == 3))
        elif self._defect == "valid":
            m.d.comb += self.tx.valid.eq(fifo.r_stream.valid & (beat != 3))
        return m


def echo(defect=None):
    component = Echo(defect)
    ports = {
        f"{name}_{member}": (getattr(getattr(component, name), member), None)
        for name in ("rx", "tx")
        for member in ("payload", "valid", "ready")
    }
    return verilog.convert(component, name="top", ports=ports)


@pytest.fixture(scope="module")
def good():
    return echo()


@pytest.mark.parametrize(
    ("gap", "stall"),
    [(0.0, 0.0), (0.4, 0.0), (0.0, 0.4), (0.4, 0.4)],
    ids=["plain", "gaps", "stalls", "gaps-stalls"],
)
def test_bytes_pass_in_order(simulator, good, gap, stall):
    result = run_bench(
        verilog=good,
        bench=BENCH,
        simulator=simulator,
        parameters=PARAMETERS | {"gap": gap, "stall": stall},
    )
    assert result.passed, result.failures
    assert result.report["bytes_per_s"] > 0


def test_both_simulators_see_the_same_cycles(good, verilator, icarus):
    cycles = {
        run_bench(
            verilog=good,
            bench=BENCH,
            testcase="bytes_come_back_in_order",
            simulator=name,
            parameters=PARAMETERS | {"gap": 0.3, "stall": 0.3},
        ).report["cycles"]
        for name in (verilator, icarus)
    }
    assert len(cycles) == 1


def test_idle_port_costs_no_python(good, verilator):
    result = run_bench(
        verilog=good,
        bench=BENCH,
        testcase="idle_port_costs_nothing",
        parameters=PARAMETERS | {"idle_cycles": 50_000},
    )
    # Of the waits for the end itself; a task woken in each of the 5,000 cycles would show.
    assert result.report["python_calls"] < 200


@pytest.mark.parametrize(
    ("defect", "message"), [("payload", "tx_payload changed"), ("valid", "tx_valid fell")]
)
def test_sink_reports_a_breach_of_the_protocol(icarus, defect, message):
    result = run_bench(
        verilog=echo(defect),
        bench=BENCH,
        testcase="bytes_come_back_in_order",
        simulator=icarus,
        parameters=PARAMETERS | {"stall": 0.8},
    )
    assert not result.passed
    assert message in result.failures[0]
    assert result.log.is_file()


def test_second_run_uses_the_built_simulator(good, icarus, own_cache):
    runs = [
        run_bench(verilog=good, bench=BENCH, simulator=icarus, parameters=PARAMETERS)
        for _ in range(2)
    ]
    assert [run.build_cached for run in runs] == [False, True]


def test_progress_tells_the_stages(good, icarus, own_cache):
    events = []
    run_bench(
        verilog=good,
        bench=BENCH,
        simulator=icarus,
        parameters=PARAMETERS,
        on_progress=events.append,
    )
    assert [event["stage"] for event in events][:2] == ["build", "run"]
    assert events[-1]["unit"] == "cycles"


def test_refused_verilog_is_one_line_that_names_the_log(simulator, tmp_path, own_cache):
    with pytest.raises(UserError, match=r"failed with status \d+; its output is in") as caught:
        run_bench(
            verilog="module top(input clk); nonsense endmodule",
            bench=BENCH,
            simulator=simulator,
            work_dir=tmp_path,
        )
    assert "\n" not in str(caught.value)
    assert (tmp_path / "build.log").is_file()


def test_missing_bench_is_one_line(good, icarus, tmp_path):
    with pytest.raises(UserError, match="before any test ended"):
        run_bench(verilog=good, bench="pyhw.sim.tb_absent", simulator=icarus, work_dir=tmp_path)


def test_time_limit_ends_the_simulation(good, icarus, tmp_path):
    with pytest.raises(UserError, match="ended after 1 seconds"):
        run_bench(
            verilog=good,
            bench=BENCH,
            simulator=icarus,
            parameters=PARAMETERS | {"idle_cycles": 10**9},
            work_dir=tmp_path,
            timeout_s=1,
        )


def test_unknown_simulator_is_refused(good):
    with pytest.raises(UserError, match="simulator must be one of verilator, icarus, not 'vcs'"):
        run_bench(verilog=good, bench=BENCH, simulator="vcs")


def test_absent_simulator_tells_how_to_get_it(good, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingTool, match="iverilog was not found; to get it: install"):
        run_bench(verilog=good, bench=BENCH, simulator="icarus")


def test_interruption_ends_the_simulator_too(icarus, tmp_path):
    program = tmp_path / "start.py"
    program.write_text(
        "import json, pathlib, sys\n"
        "from pyhw.simulation.launch import run_bench\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "run_bench(verilog=(folder / 'echo.v').read_text(), bench='pyhw.sim.tb_stream_echo',\n"
        "    simulator='icarus', work_dir=folder / 'work',\n"
        f"    parameters={PARAMETERS | {'idle_cycles': 10**9}!r},\n"
        "    on_progress=lambda event: print(event['stage'], flush=True))\n"
    )
    (tmp_path / "echo.v").write_text(echo())
    process = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(["."] + sys.path),
            "PYHW_CACHE": str(tmp_path / "cache"),  # the simulator's path tells it from others
        },
    )
    while process.stdout.readline().strip() != "run":
        pass
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    process.stdout.close()
    time.sleep(0.5)
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(tmp_path) not in left.stdout
