"""Every check of a configuration, its file form and its hash."""

import json
from dataclasses import fields, replace

import pytest

from pyhw.hdl.config import ISA_VERSION, PARTS, Config, EngineConfig
from pyhw.hdl.config_file import config_from_json, config_to_json
from pyhw.hdl.config_names import FLAT
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.ranges import value_bits

ENGINE = EngineConfig(rows=3, lanes=5, code_width=8, acc_width=20)
SHIFT = EngineConfig(rows=3, lanes=5, code_width=4, acc_width=20)
CONFIG = Config.of(l1=ENGINE)
ENGINE_RANGES = {"rows": (1, 256), "lanes": (1, 128), "code_width": (1, 8), "acc_width": (8, 32)}
RANGES = {
    "groups": (1, 16), "pool_lanes": (1, 128), "pool_acc_width": (9, 32), "burst_depth": (1, 512),
    "load_bits": (8, 1024), "post_width": (1, 32), "terms": (1, 4), "tables": (0, 16),
    "scratch_bytes": (64, 1 << 22), "weight_words": (1, 1 << 22), "param_records": (1, 1 << 16),
    "program_words": (64, 1 << 16), "index_entries": (0, 1 << 16), "max_payload": (64, 4096),
    "frame_timeout": (16, 1 << 30), "counted_layers": (0, 64), "prototypes": (0, 1 << 16),
    "taps": (0, 8), "exponent": (1, 16), "sum_bits": (0, 64),
    "residual_terms": (0, 4),
}


@pytest.mark.parametrize("name", ENGINE_RANGES)
def test_engine_fields_keep_their_range(name):
    low, high = ENGINE_RANGES[name]
    for value in (low, high):
        assert getattr(replace(ENGINE, **{name: value}), name) == value
    for value in (low - 1, high + 1, float(low), str(low), None, True):
        with pytest.raises(ValueError, match=f"EngineConfig.{name} must be an integer from {low}"):
            replace(ENGINE, **{name: value})


@pytest.mark.parametrize("name", RANGES)
def test_fields_keep_their_range(name):
    low, high = RANGES[name]
    config = CONFIG.changed(l1=replace(ENGINE, rows=8), shift=replace(SHIFT, rows=8))
    for value in (low, high):
        assert config.changed(**{name: value}).value(name) == value
    for value in (low - 1, high + 1, float(low), str(low), None, True):
        with pytest.raises(ValueError, match=f"Config.{FLAT.get(name, name)} must be an integer"):
            config.changed(**{name: value})


def test_the_ranges_of_all_integer_fields_are_tested():
    own = {f.name for f in fields(Config) if f.type is int}
    parts = {f"{name}.{f.name}" for name, part in PARTS.items()
             for f in fields(part) if f.type is int}
    assert own | parts == {FLAT.get(name, name) for name in RANGES}


def test_every_field_of_a_unit_has_one_flat_name():
    paths = {f"{name}.{f.name}" for name, part in PARTS.items() for f in fields(part)}
    assert sorted(FLAT.values()) == sorted(paths)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        CONFIG.changed(wheels=3)
    with pytest.raises(TypeError, match="wheels"):
        CONFIG.changed(**{"post.wheels": 3})


@pytest.mark.parametrize("name", ["residual_wide", "second_step", "distributed", "overlap",
                                  "spread", "single_port", "flash_loader"])
@pytest.mark.parametrize("value", [1, "yes", None])
def test_switches_are_true_or_false(name, value):
    with pytest.raises(ValueError, match=f"Config.{FLAT[name]} must be true or false"):
        CONFIG.changed(**{name: value})


@pytest.mark.parametrize(("ranges", "said"), [
    ([], "must be a mapping of fields"), ({"layer.nx": (0, 1)}, "fields .* not 'layer.nx'"),
    ({"n_x": (0, 1)}, "not 'n_x'"), ({3: (0, 1)}, "not 3"),
    ({"nest.n_x": (0, 65536)}, r"\['nest.n_x'\] must be two integers in order from 0 to 65535"),
    ({"nest.n_x": (2, 1)}, "in order"), ({"nest.n_x": (-1, 1)}, "from 0"),
    ({"nest.n_x": (1,)}, "two integers"), ({"nest.n_x": (1, True)}, "two integers"),
    ({"nest.n_x": (1, 2.0)}, "two integers"), ({"nest.n_x": 3}, "two integers"),
])  # fmt: skip
def test_ranges_name_fields_and_lie_in_them(ranges, said):
    with pytest.raises(ValueError, match=f"Config.ranges.*{said}"):
        CONFIG.changed(ranges=ranges)


def test_ranges_are_kept_in_the_file():
    ranges = {"window.xb_start": (-6, 0), "input.rows": (28, 28)}
    config = CONFIG.changed(ranges=ranges)
    assert config_from_json(config_to_json(config)) == config
    assert '"window.xb_start": [-6, 0]' in config_to_json(config)
    assert list(config.ranges) == sorted(ranges)


def test_ranges_narrow_what_control_counts():
    assert CONFIG.range_of("nest.n_x") == (0, 65535)
    ranges = {"nest.n_x": (1, 28), "nest.n_y": (1, 9), "nest.n_xy": (1, 252),
              "control.n_slots": (0, 2), "steps.n_chunks": (1, 4), "window.in_rows": (1, 28),
              "steps.n_ky": (1, 5), "window.ky_iy": (0, 1), "read.in_x": (-5, 3)}
    config = CONFIG.changed(ranges=ranges)
    assert config.count_width == 9  # 504 positions
    assert config.side_width == 5
    assert config.counter_width("steps.n_chunks") == 3
    assert config.row_width == 7  # -10 to 38
    assert config.bits_of("read.in_x") == 4


@pytest.mark.parametrize(("low", "high", "bits"), [
    (0, 0, 0), (0, 1, 1), (0, 255, 8), (5, 7, 3), (-1, 0, 1), (-1, 1, 2), (-8, -3, 4), (-9, 3, 5),
])  # fmt: skip
def test_bits_of_a_range(low, high, bits):
    assert value_bits(low, high) == bits
    mask = (1 << bits) - 1
    assert len({value & mask for value in range(low, high + 1)}) == high - low + 1


def test_a_payload_is_a_power_of_two():
    with pytest.raises(ValueError, match=r"Config.port.max_payload must be a power of two, not 96"):
        CONFIG.changed(max_payload=96)


@pytest.mark.parametrize(("bits", "size"), [(9, 2), (18, 3), (36, 5), (64, 8), (576, 72)])
def test_weight_words_take_whole_bytes(bits, size):
    assert CONFIG.changed(load_bits=bits).weights.load_bytes == size


@pytest.mark.parametrize("bits", [10, 27, 63, 90, 96])
def test_other_weight_words_are_refused(bits):
    with pytest.raises(ValueError, match=f"power of two or nine eighths of one, not {bits}"):
        CONFIG.changed(load_bits=bits)


def test_masks_need_words_of_a_power_of_two():
    with pytest.raises(ValueError, match="load_bits must be a power of two with prototypes"):
        Config.of(shift=SHIFT, prototypes=4, load_bits=18)


@pytest.mark.parametrize(("instructions", "records", "depth"), [
    (253, 258, 512), (253, 259, 512), (253, 260, 1024), (64, 1, 128),
])  # fmt: skip
def test_instructions_and_records_share_a_power_of_two(instructions, records, depth):
    config = CONFIG.changed(program_words=instructions, param_records=records)
    assert config.control_depth == depth


@pytest.mark.parametrize("name", ["", "two words", "1st", None, 3])
def test_the_name_is_an_identifier(name):
    with pytest.raises(ValueError, match=r"Config.name must be an identifier"):
        CONFIG.changed(name=name)


def test_an_engine_is_there_and_of_its_kind():
    with pytest.raises(ValueError, match="Config must have an engine, not none"):
        Config()
    with pytest.raises(ValueError, match=r"Config.engines.shift must be an EngineConfig"):
        Config.of(shift=3)
    with pytest.raises(ValueError, match=r"Config.engines.shift: missing 3 required"):
        Config.of(shift={"rows": 3})
    with pytest.raises(ValueError, match=r"Config.engines must be of l1, shift, not 'pool'"):
        Config(engines={"pool": ENGINE})
    with pytest.raises(ValueError, match=r"Config.engines must be of l1, shift, not 'wheels'"):
        Config(engines={"wheels": ENGINE})
    with pytest.raises(ValueError, match=r"engines.shift.code_width must be 3, 4 or 5, not 8"):
        Config.of(shift=ENGINE)
    assert set(Config.of(l1=ENGINE, shift=SHIFT).engines) == {"l1", "shift"}
    config = Config.of(shift=SHIFT)
    assert set(config.engines) == {"shift"}
    assert (config.number("shift"), config.number("pool"), config.engine(1)) == (0, 1, "pool")
    given = {"rows": 3, "lanes": 5, "code_width": 4, "acc_width": 20}
    assert config.changed(shift=None, l1=given).engines == {"l1": EngineConfig(**given)}


def test_prototypes_need_a_shift_engine():
    assert CONFIG.expand_lanes == 0
    with pytest.raises(ValueError, match="prototypes must be 0 without an engine whose codes"):
        CONFIG.changed(prototypes=7)


@pytest.mark.parametrize(("rows", "lanes", "code_width", "load_bits", "depth", "width"), [
    (8, 16, 4, 256, 32, 8),  # of 128 codes 32 in a burst, less its restart
    (8, 16, 4, 256, 34, 4), (8, 16, 4, 256, 130, 1), (16, 16, 4, 512, 32, 16),
    (4, 64, 4, 64, 32, 4),  # no more than rows
    (64, 4, 4, 64, 32, 4), (64, 64, 4, 8, 32, 4),  # than lanes, than half a word
    (4, 9, 5, 64, 14, 4), (1, 1, 4, 8, 3, 1),
])  # fmt: skip
def test_the_expander_makes_a_steps_codes_within_a_burst(rows, lanes, code_width, load_bits,
                                                         depth, width):
    shift = replace(SHIFT, rows=rows, lanes=lanes, code_width=code_width)
    config = Config.of(shift=shift, load_bits=load_bits, burst_depth=depth, prototypes=1,
                    scratch_bytes=1 << 16)
    assert config.expand_lanes == width


def test_the_scratchpad_has_whole_banks():
    config = CONFIG.changed(pool_lanes=9)
    assert config.banks == 16
    with pytest.raises(ValueError, match="multiple of the 16 banks, not 1000"):
        config.changed(scratch_bytes=1000)


@pytest.mark.parametrize(("changes", "banks"), [
    ({}, 8), ({"pool_lanes": 1}, 8), ({"pool_lanes": 8}, 8), ({"pool_lanes": 17}, 32),
    ({"post_width": 8}, 16), ({"post_width": 8, "residual_terms": 0}, 8),
])  # fmt: skip
def test_banks_hold_every_vector(changes, banks):
    assert CONFIG.changed(**changes).banks == banks
    assert CONFIG.changed(l1=replace(ENGINE, lanes=1), pool_lanes=1).banks == 4


def test_derived_widths():
    config = Config.of(l1=ENGINE, shift=replace(SHIFT, acc_width=24), pool_acc_width=9)
    assert config.value_width == 24
    assert config.changed(l1=replace(ENGINE, acc_width=23)).value_width == 25
    assert config.changed(pool_acc_width=32).value_width == 32
    assert config.sum_width == 24 + 16 + 2 + 2
    assert ENGINE.load_words(64) == 2  # 15 codes, 8 in a word
    assert replace(ENGINE, code_width=3).load_words(8) == 8


@pytest.mark.parametrize("config", [*PRESETS.values(), CONFIG, Config.of(shift=SHIFT)],
                         ids=lambda config: config.name)
def test_the_file_form_reads_back(config):
    assert config_from_json(config_to_json(config)) == config
    assert json.loads(config_to_json(config))["isa"] == ISA_VERSION


def test_the_flat_form_of_older_files_is_read():
    flat = {"isa": 3, "name": "old", "groups": 2, "shift": None, "post_width": 4, "spread": True,
            "l1": {"rows": 3, "lanes": 5, "code_width": 8, "acc_width": 20}, "overlap": False,
            "residual_terms": 0, "ranges": {"layer.n_x": [1, 3], "layer.loop_in": [0, 0]}}
    config = config_from_json(json.dumps(flat))
    assert config == CONFIG.changed(name="old", groups=2, post_width=4, spread=True, overlap=False,
                                    residual_terms=0, ranges={"nest.n_x": (1, 3)})
    assert not config.residual.exists


@pytest.mark.parametrize(("text", "message"), [
    ("", "must be JSON"), ("{", "must be JSON"), ("[" * 100_000, "must be JSON"),
    ("[]", "must be a JSON object"), ("null", "must be a JSON object"),
    ("{}", "version 4, not None"), ('{"isa": 1}', "version 4, not 1"),
    ('{"isa": 3}', "Config must have an engine, not none"),
    ('{"isa": 3, "colour": 3}', "Config has no field 'colour'"),
    ('{"isa": 3, "l1": {"rows": 1}}', "Config.engines.l1: missing 3 required"),
    ('{"isa": 3, "l1": {"rows": 1, "columns": 1}}', "Config.engines.l1 has no field 'columns'"),
    ('{"isa": 3, "l1": 3}', "Config.engines.l1 must be an object, not 3"),
    ('{"isa": 3, "engines": 3}', "Config.engines must be an object, not 3"),
    ('{"isa": 3, "engines": {}, "post": []}', "Config.post must be an object"),
    ('{"isa": 3, "engines": {}, "post": {"with": 1}}', "Config.post has no field 'with'"),
    ('{"isa": 3, "groups": "two"}', "Config.groups must be an integer"),
])  # fmt: skip
def test_a_bad_file_is_one_clear_line(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        config_from_json(text)
    assert "\n" not in str(caught.value)


def test_taps_are_rows_of_every_engine():
    config = CONFIG.changed(shift=replace(SHIFT, rows=2))
    assert config.changed(taps=2).depthwise.columns == 2
    with pytest.raises(ValueError, match=r"at most the rows of the shift engine \(2\), not 3"):
        config.changed(taps=3)


def test_chains_of_taps_need_rows_that_share_their_registers():
    with pytest.raises(ValueError, match=r"Config.depthwise.columns must be 0 with links, not 1"):
        CONFIG.changed(taps=1, spread=True)


def test_the_hash_tells_programs_apart_and_nothing_else():
    config = Config.of(l1=ENGINE, shift=SHIFT)
    assert len(config.hash) == 8
    same = {"name": "other", "frame_timeout": 99, "counted_layers": 7, "distributed": False,
            "overlap": False, "spread": True, "single_port": True, "flash_loader": True}
    for name, value in same.items():
        assert config.changed(**{name: value}).hash == config.hash
    other = {
        "groups": 2, "l1": None, "shift": None, "pool_lanes": 5, "pool_acc_width": 21,
        "burst_depth": 33, "load_bits": 128, "post_width": 2, "terms": 2,
        "residual_terms": 2, "residual_wide": False,
        "second_step": False, "tables": 3, "scratch_bytes": 32768, "weight_words": 1025,
        "param_records": 257, "program_words": 1025, "index_entries": 1, "max_payload": 512,
        "prototypes": 1, "taps": 1, "pool_max": False, "exponent": 7, "sum_bits": 32, "copy": True,
        "ranges": {"nest.n_x": (1, 3)},
    }
    own = {f.name for f in fields(Config)} - {*PARTS, "engines"}
    assert set(other) | set(same) == own | set(FLAT) | {"l1", "shift"}
    changed = [config.changed(**{name: value}).hash for name, value in other.items()]
    changed += [config.changed(l1=replace(ENGINE, **{name: 8})).hash for name in ("rows", "lanes")]
    assert len({config.hash, *changed}) == len(changed) + 1


def test_the_hash_is_the_same_everywhere():
    assert PRESETS["tiny"].hash.hex() == "ab383c7bb8995d0f"


def test_presets_have_their_names():
    assert list(PRESETS) == ["tiny", "default", "large"]
    assert all(config.name == name for name, config in PRESETS.items())
