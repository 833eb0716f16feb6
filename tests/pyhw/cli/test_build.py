"""``pyhw build`` around the tools: what it refuses, what it writes, how it ends."""

import json
import re
from html.parser import HTMLParser

import pytest

import pyhw.bitstream.flow
from pyhw.bitstream.implement import Implemented, Routed
from pyhw.bitstream.names import Components
from pyhw.bitstream.netlist import Netlist, Placement
from pyhw.bitstream.stages import Done
from pyhw.bitstream.timing import Hop, Timing
from pyhw.boards import BOARDS
from pyhw.cli import main as cli
from pyhw.compiler import Program, compile_graph
from pyhw.families import FAMILIES
from pyhw.graph.file import save
from pyhw.hdl.config_file import config_from_json, config_to_json
from pyhw.hdl.frames import FLASH_ADDRESS, SYNC
from pyhw.hdl.isa import Space
from tests.pyhw.cli.test_input import TINY, small_graph

GRAPH = small_graph()
BITS = b"\xff\x00Part: LFE5U-85F-6CABGA381\x00\xff\xff\xff\xbd\xb3" + bytes(1000)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(GRAPH, "net.pyhw")
    (tmp_path / "tiny.json").write_text(config_to_json(TINY))
    compile_graph(GRAPH, TINY, 2).save("net.pyhwprog")
    return tmp_path


@pytest.fixture
def call(folder, capsys):
    def run(*arguments):
        status = cli.main(["build", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def made(folder, monkeypatch):
    """Let the tools have made something; the speed in MHz is the caller's."""
    log, bits = folder / "tool.log", folder / "top.bit"
    log.write_text("Info: all is well\n")
    bits.write_bytes(BITS)
    hops = (Hop(kind="clk-to-q", delay_ns=0.5, component="drain", signal="vector<0>",
                cell="a", place=(1, 1)),
            Hop(kind="routing", delay_ns=9.5, component="port", signal="crc", cell="b",
                place=(3, 2)))  # fmt: skip

    def make(*speeds):
        def implement(board, platform, verilog, pins, clock_mhz, seeds, logs, apart, progress,
                      finished):
            assert "module board" in verilog
            stages = []
            for name in ("synthesis", *(f"route seed {n}" for n in range(1, seeds + 1)), "pack"):
                stages.append(Done(name=name, key="0" * 32, folder=folder, seconds=2.5,
                                   cached=name == "synthesis", tool="tool", version="1"))
                finished(name, 2.5, name == "synthesis")
            monkeypatch.setattr(Done, "log", log)
            routed = [Routed(seed=seed, done=stages[seed], utilization={},
                             timing=Timing(asked_mhz=clock_mhz, reached_mhz=mhz, path=hops))
                      for seed, mhz in enumerate(speeds, 1)]
            routed.sort(key=lambda one: -one.timing.reached_mhz)
            return Implemented(
                netlist=Netlist(components=Components((), FAMILIES["ecp5"]), kinds={"LUT4": 40},
                                used={"LUT4": 40, "flip-flops": 9},
                                by_component={"drain": {"LUT4": 30}, "port": {"LUT4": 10}}),
                routed=tuple(routed), stages=tuple(stages),
                bitstream=bits if routed[0].timing.met else None,
                placement=Placement(tiles={(1, 1): {"drain": 3}, (3, 2): {"port": 1}}))

        monkeypatch.setattr(pyhw.bitstream.flow, "implement", implement)

    return make


def test_boards_are_listed_without_a_model(call):
    status, out, _ = call()
    assert status == 0
    assert all(name in out for name in BOARDS)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["net.pyhw", "--board", "arty"], "board must be one of ulx3s-85f, "),
        (["none.pyhw"], "none.pyhw does not exist"),
        (["tiny.json"], "no pyhw checkpoint, graph or program"),
        (["net.pyhw", "--preset", "tiny", "--config", "tiny.json"], "not both"),
        (["net.pyhwprog", "--batch", "2"], "belong to a graph"),
        (["net.pyhwprog", "--specialise"], "belong to a graph"),
        (["net.pyhw", "--preset", "tiny", "--clock", "900"], "--clock 900: the PLL must come"),
        (["net.pyhw", "--preset", "tiny", "--baud", "77000000"], "--baud: baud must be"),
        (["net.pyhw", "--preset", "tiny", "--out", "full"], "holds no build: move it"),
        (["net.pyhw", "--preset", "tiny", "--out", "net.pyhw"], "it is no folder"),
    ],
)
def test_what_cannot_be_built_is_one_line(call, folder, arguments, wanted):
    (folder / "full").mkdir()
    (folder / "full" / "thesis.tex").touch()
    status, _, err = call(*arguments)
    assert status == 1
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert wanted in err
    assert (folder / "full" / "thesis.tex").exists()


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br", "polyline"):
            self.open.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        if tag != "polyline":
            assert self.open.pop() == tag


def test_build_that_meets_its_clock_fills_its_folder(call, made, folder):
    made(85.0, 91.5)
    status, out, err = call("net.pyhw", "--config", "tiny.json", "--batch", 4, "--seeds", 2,
                            "--clock", 75)
    assert (status, err) == (0, "")
    assert "synthesis: 2.5 s, kept from before" in out
    built = folder / "net-ulx3s-85f"
    record = json.loads((built / "build.json").read_text())
    assert record["clock"]["reached_mhz"] == 91.5
    assert record["clock"]["set_mhz"] == 75
    assert record["seeds"] == {"1": 85.0, "2": 91.5}
    assert (built / record["bitstream"]).read_bytes() == BITS
    config = config_from_json((built / "config.json").read_text())
    program = Program.load(built / "model.pyhwprog")
    assert config.hash == program.config_hash
    assert config.build.distributed
    assert program.batch == 4
    speed, link = record["speed"], record["link"]
    assert speed["images_per_second"] == pytest.approx(75e6 / speed["cycles_per_image"])
    assert link["images_per_second"] == pytest.approx(
        1e5 / max(link["bytes_sent_per_image"], link["bytes_received_per_image"]))
    assert link["images_per_second_in_turn"] < min(speed["images_per_second"],
                                                   link["images_per_second"])
    assert [stage["name"] for stage in record["stages"]] == [
        "generate", "synthesis", "route seed 1", "route seed 2", "pack"]
    for name in ("board.v", "top.il", "top.lpf", "logs/synthesis.log", "logs/route-seed-2.log"):
        assert (built / name).stat().st_size
    page = _Page()
    page.feed((built / "report.html").read_text())
    assert page.open == []
    assert page.links == []  # nothing is loaded from elsewhere
    text = (built / "report.html").read_text()
    assert "91.50 MHz reached" in text
    assert "vector&lt;0&gt;" in text


def test_build_that_misses_its_clock_says_why_and_makes_no_bitstream(call, made, folder):
    made(71.4)
    status, _, err = call("net.pyhw", "--config", "tiny.json", "--clock", "80", "--out", "there")
    assert status == 1
    assert len(err.splitlines()) == 1
    assert re.search(r"71.40 MHz reached of 80.00; the slowest path is from drain.vector<0> to "
                     r"port.crc, 10.0 ns .*: drain 0.5 ns -> port 9.5 ns; what may help: "
                     r"--clock 71, --seeds 8, ", err), err  # fmt: skip
    assert not list((folder / "there").glob("*.bit"))
    assert "not met" in (folder / "there" / "report.html").read_text()
    # Built again with success, the folder has what it lacked.
    made(99.0)
    assert call("net.pyhw", "--config", "tiny.json", "--clock", "80", "--out", "there")[0] == 0
    assert list((folder / "there").glob("*.bit"))


def test_advice_after_a_missed_clock_is_one_the_pll_makes(call, made, folder):
    made(25.8)
    _, _, err = call("net.pyhw", "--config", "tiny.json", "--board", "icebreaker", "--clock", "36")
    assert "what may help: --clock 24, --seeds 8, " in err


def test_command_for_a_board_that_is_loaded_through_its_flash(call, made, folder):
    made(30.0)
    status, out, _ = call("net.pyhw", "--config", "tiny.json", "--board", "icebreaker")
    assert status == 0
    assert "`pyhw flash net-icebreaker --flash` loads it" in out


def test_build_that_fails_leaves_no_folder_that_it_made(call, folder):
    (folder / "mine").mkdir()
    for out in ("mine", "new"):
        status, _, _ = call("none.pyhw", "--out", out)
        assert status == 1
    assert (folder / "mine").is_dir()
    assert not (folder / "new").exists()


def test_program_brings_its_configuration(call, made, folder):
    made(99.0)
    assert call("net.pyhwprog", "--config", "tiny.json")[0] == 0
    record = json.loads((folder / "net-ulx3s-85f" / "build.json").read_text())
    assert record["config"]["hash"] == TINY.hash.hex()
    assert record["speed"]["batch"] == 2


def test_a_stand_alone_bitstream_is_made_of_verilog_with_the_program(call, made, folder):
    made(99.0)
    texts = {}
    for option in ((), ("--stand-alone",)):
        status, out, _ = call("net.pyhwprog", "--config", "tiny.json", *option)
        assert status == 0
        assert ("program by itself" in out) == bool(option)
        record = json.loads((folder / "net-ulx3s-85f" / "build.json").read_text())
        assert record["stand_alone"] == bool(option)
        texts[option] = (folder / "net-ulx3s-85f" / "board.v").read_text()
    weights = Program.load("net.pyhwprog").section(Space.WEIGHTS)
    words = [int.from_bytes(weights[k:k + 4], "little") for k in range(0, len(weights), 4)]
    without, given = ([int(word) for word in re.findall(
        r"^ +weights\[\d+\] = 32'd(\d+);", text, re.M)] for text in texts.values())
    assert without == []
    assert given[:len(words)] == words
    assert not any(given[len(words):])


def test_weights_in_single_port_ram_come_out_of_the_flash(call, made, folder):
    made(99.0)
    status, out, _ = call("net.pyhw", "--board", "icebreaker", "--config", "tiny.json", "--set",
                          "single_port=true", "--stand-alone")
    assert status == 0
    assert "program by itself" in out
    built = folder / "net-icebreaker"
    assert "o_flash_select" in (built / "board.v").read_text()
    raw = (built / "icebreaker.bin").read_bytes()
    assert raw[FLASH_ADDRESS:].startswith(bytes(SYNC))
    assert not re.search(r"^ +weights\[\d+\] = ", (built / "board.v").read_text(), re.M)


def test_interruption_says_what_is_done(call, folder, monkeypatch):
    def implement(*arguments):
        arguments[-1]("synthesis", 1.0, False)
        raise KeyboardInterrupt

    monkeypatch.setattr(pyhw.bitstream.flow, "implement", implement)
    status, _, err = call("net.pyhw", "--config", "tiny.json")
    assert status == 130
    assert "generate, synthesis done; the same command goes on from there" in err


def test_what_no_other_holds_is_specialised(call, made, folder, monkeypatch):
    from pyhw.errors import UserError
    from pyhw.fitter import search

    asked, real = [], search.propose

    def propose(*arguments, specialise, **options):
        asked.append(specialise)
        if not specialise:
            raise UserError("too small")
        return real(*arguments, specialise=specialise, **options)

    monkeypatch.setenv("PYHW_CACHE", str(folder / "cache"))
    monkeypatch.setattr(search, "propose", propose)
    made(99.0)
    for _ in range(2):  # the second time it is known
        status, out, _ = call("net.pyhw", "--board", "hx8k")
        assert status == 0
        assert "control is specialised" in out
    assert asked == [False, True]
    config = json.loads((folder / "net-hx8k" / "config.json").read_text())
    assert config["ranges"]
    assert not config["build"]["distributed"]


def test_the_walk_of_the_readme_builds_and_flashes(made, folder, capsys, monkeypatch):
    from tests.pyhw.cli.test_path import walk

    monkeypatch.setenv("PYHW_CACHE", str(folder / "cache"))
    save(GRAPH, "lenet5.pyhw")
    made(99.0)
    step = walk()
    assert cli.main(step["build"]) == 0
    capsys.readouterr()
    assert cli.main([*step["flash"], "--dry-run"]) == 0
    assert capsys.readouterr().out.split()[1:] == ["-b", "ulx3s", "lenet5-board/ulx3s-85f.bit"]
