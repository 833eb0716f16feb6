"""The account of lanes and cycles: it adds up, it is the hardware's, and what is made of it."""

import dataclasses
import itertools
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import pyhw
from bench.random_networks import CONFIGS, draw_cases
from bench.utilisation import ROWS, utilisation
from pyhw.cli.main import main
from pyhw.cli.profile import _bar, _percents
from pyhw.compiler import compile_graph
from pyhw.compiler.activity import Activity
from pyhw.compiler.cycles import estimate, run_cycles, trace
from pyhw.compiler.disassemble import layer_instructions
from pyhw.configure import find_preset
from pyhw.errors import UserError
from pyhw.graph.file import load
from pyhw.graph.ops import Conv, Graph, Input, Pool
from pyhw.graph.post import Post, Step
from pyhw.hdl.formats import Format
from pyhw.hdl.presets import PRESETS
from pyhw.inputs import load_images
from pyhw.profiler.account import CAUSES, Counted, account, total
from pyhw.profiler.measure import MOST_LAYERS, Measured, counting, disagreement, measure
from pyhw.profiler.picture import COLOURS, WIDTH, draw
from pyhw.profiler.summary import engines, hint
from pyhw.profiler.timeline import compute_counts, timeline
from pyhw.simulation.network import Case, simulate
from pyhw.verilog import cached_verilog
from tests.support import ROOT
from tests.support.small_graphs import DEPTHWISE, depthwise_case

MODELS = pyhw.MODELS
LENET = MODELS / "lenet5_adder_digits.pyhw"
DOCS = ROOT / "docs"


def model(program, config, images):
    return [Counted.of_model(layer) for layer in estimate(program, config, images)]


def accounts_of(program, config, images):
    return account(program, config, images, model(program, config, images))


def step(channels, fmt=None):
    return Post(first=Step(m_sign=np.ones((1, channels), int), shift=np.full(channels, 6),
                           m_exponent=np.zeros((1, channels), int), bias=np.full(channels, 9000),
                           fmt=fmt or Format(8)))


def convolution(channels=30, pool=False):
    """An L1 layer with a 3x3 kernel over 7 channels on a map of 5 x 6, perhaps pooled."""
    rng = np.random.default_rng(5)
    conv = Conv(name="conv", input="image", term="l1", padding=(1, 1, 1, 1),
                weight=rng.integers(0, 256, (channels, 3, 3, 7)), post=step(channels))
    ops = (Input(name="image", shape=(5, 6, 7), fmt=Format(8)), conv)
    if not pool:
        return Graph("net", ops, "conv")
    return Graph("net", (*ops, Pool(name="pool", input="conv", kind="max", kernel=(2, 2),
                                    stride=(2, 2), post=step(channels))), "pool")


# The account --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["odd", "wide", "l1_only", "shift_only", "deep", "masked"])
def test_every_lane_of_every_cycle_has_one_cause(name):
    config = CONFIGS[name]
    seen = set()
    for case in draw_cases(config, itertools.count(300), 4):
        program = case.program
        for images in {1, config.groups + 1, program.batch}:
            if images > program.batch:
                continue
            layers = accounts_of(program, config, images)
            for one in layers:
                assert min(one.lane_cycles.values()) >= 0, f"{case.graph.name} {one.name}"
                assert sum(one.lane_cycles.values()) == one.lanes * one.counted.cycles
                seen |= {cause for cause, lost in one.lane_cycles.items() if lost}
            for one, guess in zip(layers, estimate(program, config, images), strict=True):
                if one.engine != "POOL":
                    assert one.utilisation == pytest.approx(guess.utilisation, rel=1e-12)
    assert seen >= {"useful", "reduction", "channels", "layer", "fill"}
    assert ("images" in seen) == (config.groups > 1)


@pytest.mark.parametrize("name", ["odd", "shift_only", "deep", "masked"])
def test_the_spans_of_a_run_say_the_same_as_its_counters(name):
    config = CONFIGS[name]
    for case in draw_cases(config, itertools.count(300), 4):
        images = len(case.images[:case.program.batch])
        spans = trace(case.program, config, images)
        for span, one in zip(spans, model(case.program, config, images), strict=True):
            assert compute_counts(span, one.cycles) == {
                "fill": one.fill, "vectors": one.vectors, "weights": one.stall_weights,
                "layer": one.stall_layer, "bank": one.stall_bank}


def test_a_layer_is_accounted_for_as_by_hand():
    # 2 groups of 24 rows x 20 lanes, 3 images: 21 bytes a kernel row take two vectors of 20 lanes,
    # 30 channels two blocks of 24 rows, 3 images four places of 30 positions.
    config = CONFIGS["wide"]
    program = compile_graph(convolution(), config, 3)
    [one] = accounts_of(program, config, 3)
    useful = 3 * 30 * 30 * 63
    assert one.lanes == 2 * 24 * 20
    assert one.lane_cycles["useful"] == useful
    assert one.lane_cycles["reduction"] == 3 * 30 * 30 * 3 * (40 - 21)
    assert one.lane_cycles["channels"] == 3 * 30 * 3 * 40 * (48 - 30)
    assert one.lane_cycles["images"] == 1 * 30 * 3 * 40 * 48
    assert one.counted.vectors * one.lanes == sum(
        one.lane_cycles[cause] for cause in ("useful", "reduction", "channels", "images"))


def test_a_depthwise_layer_is_accounted_for_as_by_hand():
    # Lanes are channels: 8 in blocks of 3 of 7 lanes, and rows are taps: 3 of 5. A row of 6
    # positions has 2 columns before it.
    config = CONFIGS["odd"]
    graph, images = depthwise_case("l1", 8)
    program = compile_graph(graph, config, 5)
    [one] = accounts_of(program, config, len(images))
    vectors = 5 * (6 + 2) * 3
    assert one.lane_cycles["useful"] == 5 * 8 * 9 * 30
    assert one.lane_cycles["channels"] == 5 * vectors * (3 * 7 - 8) * 5
    assert one.lane_cycles["reduction"] == 5 * vectors * 8 * 5 - 5 * 8 * 9 * 30
    assert one.lane_cycles["images"] == vectors * 3 * 35  # 3 groups, 2 slots, 5 images


def test_pooling_counts_the_terms_of_its_windows():
    config = CONFIGS["odd"]
    program = compile_graph(convolution(pool=True), config, 3)
    one = accounts_of(program, config, 3)[1]
    assert (one.engine, one.lanes) == ("POOL", 9)
    assert one.lane_cycles["useful"] == 3 * 2 * 3 * 30 * 4
    assert one.lane_cycles["channels"] == one.lane_cycles["reduction"] == 0


def test_vectors_that_a_layer_cannot_have_are_refused():
    config = CONFIGS["odd"]
    program = compile_graph(convolution(), config, 3)
    [counted] = model(program, config, 3)
    with pytest.raises(ValueError, match="'conv' must issue 1620 vectors, not 1621"):
        account(program, config, 3, [dataclasses.replace(counted, vectors=counted.vectors + 1)])


def test_residuals_in_the_way_are_told_from_slow_post_processing():
    # docs/profile.md: half of the banks are where residual and result meet in ResNet-20.
    config, graph = find_preset("resnet20_85f"), load(MODELS / "resnet20_adder.pyhw")
    config = config.changed(post_width=8)
    program = compile_graph(graph, config, 4)
    found = {one.name: one for one in accounts_of(program, config, 4)}
    meets = found["layer1.0.conv2"]
    assert meets.lane_cycles["bank"] == 0
    assert meets.lane_cycles["port"] == meets.counted.stall_bank * meets.lanes > 0
    assert found["layer1.1.conv1"].lane_cycles["port"] == 0  # it has no residual
    wider = config.changed(shift=dataclasses.replace(config.engines.get("shift"), lanes=32))
    assert (config.banks, wider.banks) == (16, 32)
    fewer = [run_cycles(estimate(compile_graph(graph, one, 4), one)) for one in (config, wider)]
    assert fewer == [216_559, 188_188]


# The hardware -------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_hardware_counts_what_the_model_says(verilator):
    config = CONFIGS["odd"].changed(counted_layers=16)
    cases = draw_cases(config, itertools.count(100), 13)
    cases += [Case(graph=graph, program=compile_graph(graph, config, len(images)), images=images)
              for graph, images in (depthwise_case("l1", 8, **changes) for changes in DEPTHWISE)]
    results = simulate(cases, config, verilog=cached_verilog(config), simulator=verilator)
    port = 0
    for case, result in zip(cases, results, strict=True):
        assert result.difference is None, case.graph.name
        images = min(len(case.images), case.program.batch)
        sets = result.layers[:len(case.program.layers)]
        found = [Counted.of_hardware(one) for one in sets]
        guess = model(case.program, config, images)
        names = [layer.name for layer in case.program.layers]
        assert disagreement(names, guess, found) is None, case.graph.name
        assert sum(one["CYCLES"] for one in sets) == run_cycles(
            estimate(case.program, config, images))
        port += sum(one.stall_port for one in found)
    assert port > 0


def test_a_profile_with_a_simulation_compares_outputs_and_counters(verilator, tmp_path, capsys):
    from pyhw.graph.file import save

    graph = tmp_path / "net.pyhw"
    save(convolution(channels=10, pool=True), graph)
    # As many sets of counters as other tests simulate with: one build serves all.
    arguments = ["profile", str(graph), "--preset", "tiny", "--set", "counted_layers=16",
                 "--simulate", "--data", "random", "--json", str(tmp_path / "net.json")]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for layer in json.loads((tmp_path / "net.json").read_text("utf-8"))["layers"]:
        assert layer["measured"] == layer["cycles"]
        assert out.count(f" {layer['cycles']['cycles']:,} ") == 2
    assert "counters of all 2 layers equal the model" in out
    assert "values compared with the golden executor: 0 differences" in out


def test_a_wrong_output_is_an_error(verilator):
    config = PRESETS["tiny"].changed(counted_layers=16)
    graph = convolution(channels=10, pool=True)
    program = compile_graph(graph, config, 1)
    other = dataclasses.replace(graph, ops=(*graph.ops[:2], dataclasses.replace(
        graph.ops[2], post=step(10, Format(7)))))
    from pyhw.graph.file import fingerprint

    images, _ = load_images(graph, "random", 1)
    program = dataclasses.replace(program, graph=fingerprint(other))
    with pytest.raises(UserError, match="outputs are wrong: layer 'pool', image 0"):
        measure(other, program, config, images, verilog=cached_verilog(config))


def test_a_disagreement_is_named():
    a = Counted(100, 50, 1, 2, 3, 4)
    assert disagreement(["x"], [a], [a]) is None
    b = dataclasses.replace(a, stall_bank=5)
    assert disagreement(["x", "y"], [a, a], [a, b]) == (
        "layer 'y': stall_bank 3 in the model, 5 measured")
    assert disagreement(["x"], [a], [a, a]) == "the model has 1 layers and the hardware counted 2"


def test_a_disagreement_with_the_hardware_is_an_error(monkeypatch, capsys):
    def other(graph, program, config, images, **_):
        layers = model(program, config, len(images))
        layers[2] = dataclasses.replace(layers[2], stall_layer=layers[2].stall_layer + 1)
        return Measured(layers, sum(one.cycles for one in layers) + 45, 45, None)

    monkeypatch.setattr("pyhw.profiler.measure.measure", other)
    monkeypatch.setattr("pyhw.simulation.launch.find_simulator", lambda name: None)
    monkeypatch.setattr("pyhw.verilog.cached_verilog", lambda config: "")
    assert main(["profile", str(LENET), "--simulate"]) == 1
    printed = capsys.readouterr()
    assert "measured" in printed.out
    assert printed.err.startswith("error: model and hardware disagree: layer 'conv2': stall_layer")
    assert printed.err.count("\n") == 1


def test_too_many_layers_for_the_counters_are_refused():
    config = PRESETS["tiny"]
    program = compile_graph(convolution(channels=4), config, 1)
    assert counting(config, program).port.counted_layers == 1
    many = dataclasses.replace(program, layers=program.layers * MOST_LAYERS)
    assert counting(config, many).port.counted_layers == MOST_LAYERS
    with pytest.raises(UserError, match="65 layers and the hardware can count 64"):
        counting(config, dataclasses.replace(program, layers=program.layers * 65))
    with pytest.raises(ValueError, match="counted_layers"):
        config.changed(counted_layers=MOST_LAYERS + 1)


# The run as a whole -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lenet():
    config = PRESETS["default"]
    program = compile_graph(load(LENET), config, 8)
    spans = trace(program, config, 8)
    return program, config, spans, accounts_of(program, config, 8)


@pytest.mark.parametrize("bins", [1, 7, 1200])
def test_the_timeline_adds_up_to_the_account(lenet, bins):
    _, _, spans, accounts = lenet
    line = timeline(spans, accounts, bins)
    assert line.compute.shape == (bins, len(CAUSES))
    for index, (cause, cycles) in enumerate(total(accounts).items()):
        assert line.compute[:, index].sum() == pytest.approx(cycles), cause
    assert line.store[:, 0].sum() == sum(end - start for span in spans
                                        for _, start, end in span.store)
    lengths = np.diff(np.arange(bins + 1) * line.cycles // bins)
    assert (line.compute.sum(axis=1) <= lengths + 1e-6).all()
    assert (line.store.sum(axis=1) <= lengths).all()


def test_a_short_run_has_a_bin_a_cycle(lenet):
    program, config, _, _ = lenet
    program = compile_graph(convolution(channels=4), config, 1)
    line = timeline(trace(program, config, 1), accounts_of(program, config, 1), 100_000)
    assert len(line.compute) == line.cycles


def test_neighbouring_spans_of_one_kind_become_one():
    activity = Activity()
    for kind, start, end in (("a", 0, 3), ("a", 3, 5), ("b", 5, 5), ("b", 6, 8), ("a", 8, 9)):
        activity.add(kind, start, end)
    assert list(activity) == [("a", 0, 5), ("b", 6, 8), ("a", 8, 9)]


def test_the_picture_shows_every_layer_and_cause(lenet):
    _, _, spans, accounts = lenet
    text = draw("a < b", timeline(spans, accounts, WIDTH), accounts, 50e6)
    tree = ElementTree.fromstring(text)
    words = [element.text for element in tree.iter() if element.text]
    assert "a < b" in words
    for one in accounts:
        assert any(word.startswith(f"{one.name} (") and f"{one.counted.cycles:,} cycles" in word
                   for word in words)
    space = "{http://www.w3.org/2000/svg}"
    filled = {path.get("fill") for path in tree.iter(f"{space}path")}
    for cause, cycles in total(accounts).items():
        assert (COLOURS[cause] in filled) == (cycles > 0), cause
    assert "10,000" in words
    assert "200 µs" in words  # at 50 MHz


def test_shares_are_rounded_to_a_hundred_per_cent():
    for seed in range(50):
        values = np.random.default_rng(seed).random(9) ** 4
        shares = dict(zip(CAUSES, values / values.sum(), strict=True))
        assert sum(round(float(text) * 10) for text in _percents(shares)) == 1000
        assert len(_bar(shares, 32).plain) == 32
    assert _percents({"useful": 1 / 3, "fill": 2 / 3}) == ["33.3", "66.7"]
    assert _bar({"useful": 0.5, "weights": 0.5}, 4).plain == "##ww"


def test_engines_are_counted_over_their_layers_and_over_the_run(lenet):
    program, config, _, accounts = lenet
    cycles = run_cycles(estimate(program, config, 8))
    used = {one.name: one for one in engines(accounts, cycles)}
    assert used["L1"].cycles == sum(a.counted.cycles for a in accounts if a.engine == "L1")
    terms = sum(layer.useful_terms for layer in program.layers if layer.engine == "L1") * 8
    assert used["L1"].own == terms / (used["L1"].cycles * 256)
    assert used["L1"].run == terms / (cycles * 256)
    assert utilisation(accounts, cycles) == pytest.approx(used["L1"].run + used["SHIFT"].run)


@pytest.mark.parametrize(("cause", "changes", "words"), [
    ("reduction", {}, "lanes that divide its kernel rows"),
    ("reduction", {"depthwise": 1}, "taps that divide"),
    ("reduction", {"run_bytes": 1}, "taps above 0"),
    ("channels", {}, "rows that divide its channels"),
    ("images", {}, "multiple of the groups (2)"),
    ("weights", {}, "load_bits above 256"),
    ("layer", {}, "more images a group"),
    ("bank", {}, "post_width above 2"),
    ("port", {}, "more scratchpad banks (more lanes of the widest unit; there are 16)"),
    ("fill", {}, "short layers"),
])
def test_the_hint_names_the_largest_loss_its_layer_and_a_remedy(lenet, cause, changes, words):
    program, config, _, accounts = lenet
    layers = [one.changed(**changes) for one in layer_instructions(program, config)]
    fake = [dataclasses.replace(one, lane_cycles=dict.fromkeys(CAUSES, 0) | {
        "useful": 1, cause: one.lanes * one.counted.cycles * (index == 2)})
        for index, one in enumerate(accounts)]
    told = hint(fake, config, layers)
    assert told.startswith(f"largest loss: {CAUSES[cause]}, ")
    assert "most of it in conv2 (100%)" in told
    assert words in told


def test_nothing_lost_needs_no_hint(lenet):
    program, config, _, accounts = lenet
    fake = [dataclasses.replace(one, lane_cycles=dict.fromkeys(CAUSES, 0)) for one in accounts]
    assert hint(fake, config, layer_instructions(program, config)) == "nothing is lost"


@pytest.mark.parametrize("row", [row for row in ROWS if row.config],
                         ids=lambda row: row.name)
def test_the_documented_table_is_what_the_model_says(row):
    program = compile_graph(load(MODELS / row.graph), row.config, row.batch)
    cycles = run_cycles(estimate(program, row.config, row.batch))
    share = utilisation(accounts_of(program, row.config, row.batch), cycles)
    [line] = [line for line in (DOCS / "performance.md").read_text("utf-8").splitlines()
              if line.startswith(f"| {row.name} |")]
    assert f"| {row.batch} | {cycles:,} |" in line
    assert f"| {share:.1%} |" in line


# The command --------------------------------------------------------------------------------------


def test_the_command_writes_table_picture_and_json(tmp_path, capsys):
    picture, report = tmp_path / "net.svg", tmp_path / "net.json"
    assert main(["profile", str(LENET), "--batch", "8", "--clock", "50", "--picture",
                 str(picture), "--json", str(report)]) == 0
    out = capsys.readouterr().out
    found = json.loads(report.read_text("utf-8"))
    assert f"{found['images_per_second']:,.0f} images a second at 50 MHz" in out
    assert found["hint"] in out
    assert found["images_per_second"] == 8 * 50e6 / found["cycles"]
    for layer in found["layers"]:
        assert layer["measured"] is None
        assert f" {layer['name']} " in out
        assert sum(layer["lane_cycles"].values()) == layer["lanes"] * layer["cycles"]["cycles"]
    assert ElementTree.fromstring(picture.read_text("utf-8")).tag.endswith("svg")


def test_the_documented_output_is_what_the_command_prints(capsys):
    assert main(["profile", str(LENET), "--preset", "default", "--batch", "8"]) == 0
    shown = (DOCS / "profile.md").read_text("utf-8").split("```\n")[2]
    assert capsys.readouterr().out.rstrip() == shown.rstrip()


@pytest.mark.parametrize(("arguments", "words"), [
    (["--picture", "net.png"], "--picture must end in .svg, not 'net.png'"),
    (["--picture", "{tmp}"], "--picture must end in .svg"),
    (["--json", "{tmp}"], "it is a folder"),
    (["--picture", "{tmp}/a.svg", "--json", "{tmp}/a.svg"], "would be both --picture and --json"),
    (["--batch", "9999"], "scratch"),
    (["--simulate", "--simulator", "nosuch"], "simulator must be one of"),
    (["--simulate", "--data", "nosuch"], "data must be"),
    (["--preset", "nosuch"], "preset must be one of"),
])
def test_what_is_wrong_with_the_command_is_one_line(arguments, words, tmp_path, capsys):
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    assert main(["profile", str(LENET), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error


def test_another_kind_of_file_is_refused(tmp_path, capsys):
    program = tmp_path / "net.pyhwprog"
    compile_graph(convolution(), PRESETS["tiny"], 1).save(program)
    assert main(["profile", str(program)]) == 1
    assert "is a program, not a graph" in capsys.readouterr().err


def test_fewer_images_than_a_batch_are_refused(tmp_path, capsys, verilator):
    images = tmp_path / "few.npy"
    np.save(images, load_images(load(LENET), "random", 2)[0])
    assert main(["profile", str(LENET), "--batch", "3", "--simulate", "--data", str(images)]) == 1
    assert "has 2 images and a batch takes 3" in capsys.readouterr().err
