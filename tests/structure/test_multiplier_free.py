"""No accelerator multiplies: not as elaborated, and not after synthesis."""

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pyhw.errors import UserError
from pyhw.families import FAMILIES
from pyhw.fitter.memories import in_blocks
from pyhw.hdl.presets import PRESETS
from pyhw.synthesis.yosys import multiplier_free_check, synthesize, to_rtlil
from pyhw.verilog import cached_verilog, generate_rtlil


@pytest.mark.parametrize("name", ["tiny", "default", pytest.param("large", marks=pytest.mark.long)])
def test_elaborated_preset_has_no_cell_that_multiplies(name):
    multiplier_free_check(generate_rtlil(PRESETS[name]))


def test_elaborated_expander_has_no_cell_that_multiplies():
    multiplier_free_check(generate_rtlil(PRESETS["tiny"].changed(prototypes=300)))


class Product(wiring.Component):
    """The product of two bytes."""

    a: In(8)
    b: In(8)
    o: Out(16)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.a * self.b)
        return m


@pytest.mark.parametrize("family", FAMILIES)
def test_a_product_is_given_a_dsp_block_before_logic_is_mapped(family, yosys):
    report = synthesize(to_rtlil(Product()), "top", family, mapped=False)
    with pytest.raises(UserError, match="must use no multiplier block"):
        report.require_no_dsp()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["tiny", pytest.param("default", marks=pytest.mark.long)])
def test_synthesised_preset_has_no_dsp_block(name, family, yosys):
    config = in_blocks(PRESETS[name], family)
    report = synthesize(cached_verilog(config), "top", family, mapped=False)
    report.require_no_dsp()
