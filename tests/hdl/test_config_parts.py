"""The records that a configuration is made of, and what follows from them."""

import pytest

from pyhw.hdl.config import Config
from pyhw.hdl.config_checks import check_all, checked
from pyhw.hdl.config_derived import CLUSTER_LANES, Derived
from pyhw.hdl.config_system import BuildConfig, MemoryConfig
from pyhw.hdl.config_text import Shown
from pyhw.hdl.config_units import DepthwiseConfig, EngineConfig, check_code
from pyhw.hdl.presets import PRESETS


@pytest.mark.parametrize(("value", "allowed"), [
    (1, True), (9, True), (0, False), (10, False), (True, False), (5.0, False), ("5", False),
    (None, False)])
def test_limits_are_integers_and_belong_to_what_is_allowed(value, allowed):
    if allowed:
        checked("Config", "groups", value, 1, 9)
    else:
        with pytest.raises(ValueError, match=r"Config.groups must be an integer from 1 to 9, not"):
            checked("Config", "groups", value, 1, 9)


def test_what_has_no_limits_is_a_switch():
    part = MemoryConfig()
    with pytest.raises(ValueError, match=r"Config.memory.\w+ must be true or false"):
        check_all(part, "Config.memory")


def test_a_depthwise_unit_fits_the_engines_and_has_no_links():
    unit = DepthwiseConfig(columns=3)
    engines = {rows: {"l1": EngineConfig(rows=rows, lanes=2, code_width=8, acc_width=16)}
               for rows in (2, 3)}
    unit.check(engines[3], BuildConfig())
    with pytest.raises(ValueError, match=r"at most the rows of the l1 engine \(2\), not 3"):
        unit.check(engines[2], BuildConfig())
    with pytest.raises(ValueError, match="must be 0 with links, not 3"):
        unit.check(engines[3], BuildConfig(links=True))
    DepthwiseConfig().check(engines[2], BuildConfig(links=True))


def test_a_code_fits_a_word_and_is_one_of_its_engine():
    engine = EngineConfig(rows=1, lanes=1, code_width=8, acc_width=16)
    check_code("l1", engine, 8)
    with pytest.raises(ValueError, match=r"hold one weight code of the l1 engine \(8 bits\)"):
        check_code("l1", engine, 7)
    with pytest.raises(ValueError, match="code_width must be 3, 4 or 5, not 8"):
        check_code("shift", engine, 8)


@pytest.mark.parametrize("rows", [1, 4, 5, 17])
@pytest.mark.parametrize("lanes", [1, 32, 100])
def test_clusters_have_every_row_once_and_few_lanes(rows, lanes):
    engine = EngineConfig(rows=rows, lanes=lanes, code_width=8, acc_width=16)
    config = Config.of(l1=engine, spread=True)
    assert isinstance(config, Derived)
    clusters = config.clusters("l1")
    assert [row for cluster in clusters for row in cluster] == list(range(rows))
    assert all(len(cluster) * lanes <= max(CLUSTER_LANES, lanes) for cluster in clusters)
    assert config.changed(spread=False).clusters("l1") == [range(rows)]


def test_values_are_set_by_flat_or_dotted_names_alike():
    config = PRESETS["tiny"]
    assert isinstance(config, Shown)
    flat = config.changed(post_width=2, name="other", groups=2, shift=None)
    dotted = config.changed(**{"post.width": 2, "name": "other", "groups": 2, "shift": None})
    assert flat == dotted
    assert (flat.post.width, flat.groups, list(flat.engines)) == (2, 2, ["l1"])
    assert flat.changed(**{"l1.rows": 7}).engines["l1"].rows == 7
    engine = {"rows": 1, "lanes": 1, "code_width": 4, "acc_width": 16}
    assert Config.of(shift=engine) == Config.of(shift=EngineConfig(**engine))
    for make in (Config.of, config.changed):
        with pytest.raises(TypeError, match="'nothing'"):
            make(nothing=1)
    with pytest.raises(TypeError, match="no engine 'shift'"):
        flat.changed(**{"shift.rows": 7})
    with pytest.raises(ValueError, match=r"Config.engines.shift: .*missing"):
        Config.of(shift={"rows": 1})
