"""Print the area of command port and control, component by component.

``python -m bench.control_area [--preset NAME] [--family FAMILY] [component ...]``; components are
named in `COMPONENTS`. Each is synthesised beside a path that is deeper than its own, as it stands
in an accelerator, so that the mapper saves area; alone it would save levels. LUT4 equivalents are
counted as in `bench.engine_area`.
"""

import argparse

from amaranth.back import verilog
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pyhw.configure import choose_config
from pyhw.families import FAMILIES
from pyhw.hdl.control.address_generator import AddressGenerator
from pyhw.hdl.control.counters import Counters
from pyhw.hdl.control.sequencer import Sequencer
from pyhw.hdl.control.store_unit import StoreUnit
from pyhw.hdl.memory.program_memories import ProgramMemories
from pyhw.hdl.port.axi import AxiLitePort
from pyhw.hdl.port.command_port import CommandPort
from pyhw.hdl.port.executor import CommandExecutor
from pyhw.hdl.port.frame_rx import FrameRx
from pyhw.hdl.port.frame_tx import FrameTx
from pyhw.hdl.port.intake import CommandIntake
from pyhw.hdl.port.register_file import RegisterFile
from pyhw.hdl.port.responder import Responder
from pyhw.hdl.port.unfold import Unfold
from pyhw.hdl.post.parameter_loader import ParameterLoader
from pyhw.hdl.registers import ADDRESS_BITS
from pyhw.hdl.timing import Timing
from pyhw.hdl.weights.fetch import WeightFetch
from pyhw.hdl.weights.loader import WeightLoader
from pyhw.synthesis.yosys import synthesize

COMPONENTS = {
    "frame-rx": FrameRx,
    "command-intake": lambda config: CommandIntake(),
    "command-executor": CommandExecutor,
    "responder": Responder,
    "frame-tx": lambda config: FrameTx(),
    "command-port": CommandPort,
    "memories": ProgramMemories,
    "unfold": Unfold,
    "counters": lambda config: Counters(config.port.counted_layers),
    "sequencer": Sequencer,
    "address_generator": lambda config: AddressGenerator(config, Timing(config).scratchpad_latency),
    "weight-fetch": WeightFetch,
    "weight-loader": WeightLoader,
    "store_unit": StoreUnit,
    "axi-lite": lambda config: AxiLitePort(ADDRESS_BITS),
    "registers": RegisterFile,
    "records": lambda config: ParameterLoader(config, Timing(config).meet),
}
DEPTH = 16
"""Adders of the deep path."""


class Nothing(wiring.Component):
    """What is measured to know the deep path."""

    start: In(1)

    def elaborate(self, platform):
        return Module()


class Relaxed(wiring.Component):
    """A component beside a deep path."""

    def __init__(self, component):
        self._component = component
        ports = {f"{'i' if flow is In else 'o'}{k}": (value, flow) for k, (_, flow, value)
                 in enumerate(_flat(component))}
        self._ports = ports
        super().__init__({name: flow(len(value)) for name, (value, flow) in ports.items()}
                         | {"i_bit": In(1), "o_bit": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.component = self._component
        for name, (value, flow) in self._ports.items():
            port = getattr(self, name)
            m.d.comb += value.eq(port) if flow is In else port.eq(value)
        # Adders one behind the other, which no mapper can turn into fewer levels.
        bits = Signal(8 * DEPTH)
        m.d.sync += bits.eq(bits << 1 | self.i_bit)
        value = bits[:8]
        for k in range(1, DEPTH):
            total = Signal(8, name=f"total{k}")
            m.d.comb += total.eq(value + bits.word_select(k, 8))
            value = total.rotate_left(1)
        m.d.sync += self.o_bit.eq(value[7])
        return m


def _flat(component):
    """Return (path, flow, value) of every port signal of a component."""
    return [(path, member.flow, Value.cast(value))
            for path, member, value in component.signature.flatten(component)]


def main():
    """Measure the components that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("components", nargs="*", metavar="component", help=", ".join(COMPONENTS))
    parser.add_argument("--preset", default="ds_cnn_25f")
    parser.add_argument("--family", default="ecp5", choices=tuple(FAMILIES))
    arguments = parser.parse_args()
    names = arguments.components or list(COMPONENTS)
    config = choose_config(arguments.preset)
    print(f"{'component':18}{'LUT4':>8}{'CCU2C':>7}{'DPR16':>7}{'FF':>7}{'RAM':>5}{'LUT4 eq.':>10}")
    path = _figures(Nothing(), arguments.family)
    for name in names:
        if name not in COMPONENTS:
            parser.error(f"component must be one of {', '.join(COMPONENTS)}, not {name}")
        figures = _figures(COMPONENTS[name](config), arguments.family)
        luts, carries, rams, registers, blocks, total = (
            f - p for f, p in zip(figures, path, strict=True))
        print(f"{name:18}{luts:8}{carries:7}{rams:7}{registers:7}{blocks:5}{total:10}", flush=True)


def _figures(component, family):
    """Return the figures of a component's line, with the deep path."""
    text = verilog.convert(Relaxed(component), name="top")
    report = synthesize(text, "top", family)
    cells = report.cells
    return (cells.get("LUT4", 0) + cells.get("SB_LUT4", 0), cells.get("CCU2C", 0),
            cells.get("TRELLIS_DPR16X4", 0), report.flip_flops, report.block_rams, report.lut4)


if __name__ == "__main__":
    main()
