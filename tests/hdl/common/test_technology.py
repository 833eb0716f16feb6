"""What memories are made of: the parts that a configuration gets."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import memory

from pyhw.hdl.common.technology import Technology
from pyhw.hdl.engines.accumulators import BlockAccumulators, LutAccumulators
from pyhw.hdl.isa import Space
from pyhw.hdl.presets import PRESETS
from tests.support.helpers import check_delay, simulate


def technology(**changes):
    return Technology(PRESETS["tiny"].changed(**changes))


@pytest.mark.parametrize(("distributed", "kind"), [(True, LutAccumulators),
                                                   (False, BlockAccumulators)])
def test_accumulators_lie_where_the_configuration_says(distributed, kind):
    config = PRESETS["tiny"].changed(distributed=distributed)
    assert Technology(config).accumulators is kind
    assert config.build.accumulator_latency == kind.latency
    assert Technology(config).dual_port == distributed


@pytest.mark.parametrize("distributed", [True, False])
@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("cycles", [2, 9])
def test_a_delay_line_is_as_long_of_any_memory(distributed, large, cycles):
    check_delay(technology(distributed=distributed).delay_line(7, cycles, large=large), cycles)


@pytest.mark.parametrize("single_port", [True, False])
@pytest.mark.parametrize("space", [Space.WEIGHTS, Space.PARAMS])
def test_a_write_takes_the_place_of_a_read_in_weights_of_one_port(space, single_port):
    made, m = technology(single_port=single_port), Module()
    m.submodules.store = store = memory.Memory(shape=8, depth=4, init=[5, 6, 7, 8])
    write, read = store.write_port(), store.read_port(transparent_for=())
    address, enable, data = Signal(2), Signal(), Signal(8)
    m.d.comb += [read.en.eq(1), read.addr.eq(2), write.data.eq(data)]
    made.connect_write(m, space, write, read, enable=enable, address=address)
    alone = single_port and space is Space.WEIGHTS
    assert made.attributes(space) == ({"ram_style": "huge"} if alone else {})

    async def testbench(ctx):
        await ctx.tick()
        assert ctx.get(read.data) == 7
        ctx.set(enable, 1)
        ctx.set(address, 1)
        ctx.set(data, 99)
        assert (ctx.get(read.en), ctx.get(read.addr)) == ((0, 1) if alone else (1, 2))
        await ctx.tick()
        ctx.set(enable, 0)
        await ctx.tick()
        assert ctx.get(read.data) == 7
        assert ctx.get(store.data[1]) == 99

    simulate(m, testbench)
