"""The accelerator template: one design in all sizes, whose programs are memory images."""

import os
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyhw.compiler import compile_graph
from pyhw.compiler.cycles import LayerCycles, estimate, run_cycles
from pyhw.compiler.program import MAGIC
from pyhw.compiler.program import Program as Image
from pyhw.configure import config_given
from pyhw.errors import UserError, writing
from pyhw.hdl.config import Config

from .base import Program, Progress
from .built import Built
from .design import Design
from .simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyhw.boards import Board
    from pyhw.graph.ops import Graph
    from pyhw.host.device import Device
    from pyhw.host.measure import Measured
    from pyhw.profiler.profile import Profile
    from pyhw.synthesis.component import Synthesis

    from .proposal import Proposal

__all__ = ["AcceleratorProgram", "AcceleratorTarget"]

MOST_DIVISOR = 1 << 24
"""Clock cycles of a bit: 300 baud and less at any clock."""


@dataclass(frozen=True, repr=False)
class AcceleratorProgram(Program):
    """A program image and the configuration that it is for.

    Attributes
    ----------
    image : pyhw.compiler.Program
        Contents of the memories.
    """

    target: "AcceleratorTarget"
    image: Image
    config: Config | None

    @property
    def name(self) -> str:
        """Name of the graph."""
        return self.image.name

    @property
    def graph(self) -> str:
        """Hash of the graph that it was compiled from."""
        return self.image.graph

    @property
    def batch(self) -> int:
        """Images that the memories are laid out for."""
        return self.image.batch

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.image.input_shape

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image's output."""
        return self.image.output.shape

    @property
    def size(self) -> int:
        """Bytes of its file."""
        return len(self.image.to_bytes())

    def input_graph(self) -> "Graph":
        """Return a graph of its input alone: shape and format of an image."""
        from pyhw.inputs import input_graph

        return input_graph(self.image)

    def known(self) -> Config:
        """Return the configuration; `UserError` with what to do if it is not known."""
        from pyhw.host.connect import config_of

        return config_of(self.image) if self.config is None else self.config

    def memory_map(self, device: str = "ecp5-85f") -> str:
        """Return where every map lies, layer by layer, and what the memories take of a device."""
        from pyhw.memory_map import memory_text

        return memory_text(self.image, self.config, device)

    def listing(self) -> str:
        """Return the disassembly."""
        from pyhw.compiler.disassemble import disassemble

        return disassemble(self.image, self.known())

    def notes(self) -> str:
        """Return what masked layers take, if there are any."""
        from pyhw.compiler.masks import mask_summary

        return mask_summary(self.image, self.known())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, all of it or nothing; `UserError` if that is not possible."""
        with writing(path):
            self.image.save(path)


class AcceleratorTarget:
    """The template that `pyhw.hdl` generates."""

    name = "accelerator"
    magic = MAGIC

    def takes(self, config: Any) -> bool:
        """Return whether something is a `Config`."""
        return isinstance(config, Config)

    def fit(self, graph: "Graph", device: str, *, batch: int | None = None,
            objective: str = "throughput", specialise: bool = False,
            progress: Progress | None = None) -> "Proposal":
        """Propose configurations for a graph on a device, the best first."""
        from pyhw.families import find_device
        from pyhw.fitter.search import propose

        from .proposal import Proposal

        chosen = find_device(device)
        return Proposal(graph.name, chosen, propose(
            graph, chosen, batch=batch, objective=objective, specialise=specialise,
            progress=progress))

    def compile(self, graph: "Graph", config: Config, *, batch: int | None = None,
                double_buffer: bool = False) -> AcceleratorProgram:
        """Compile a graph; one image a group by default."""
        image = compile_graph(graph, config, batch or config.groups, double_buffer=double_buffer)
        return AcceleratorProgram(self, image, config)

    def generate(self, config: Config, *, interface: str = "bytes", divisor: int | None = None,
                 program: Program | None = None, family: str | None = None) -> Design:
        """Return the accelerator: with `program` from the start, memories as `family` has them."""
        from pyhw.contents import NOTHING, contents_of
        from pyhw.verilog import INTERFACES, cached_verilog

        if interface not in INTERFACES:
            raise UserError(f"interface must be one of {', '.join(INTERFACES)}, not {interface!r}")
        if (interface == "serial") != (divisor is not None):
            raise UserError("--interface serial needs --divisor, the clock cycles of a bit" if
                            divisor is None else "--divisor is for --interface serial")
        if divisor is not None and divisor > MOST_DIVISOR:
            raise UserError(f"--divisor must be at most {MOST_DIVISOR}, not {divisor}")
        if family is not None:
            from pyhw.families import find_family
            from pyhw.fitter.memories import in_blocks

            find_family(family)
            config = in_blocks(config, family)
        contents = NOTHING if program is None else contents_of(_image(program), config)
        return Design(config, interface, divisor, lambda: cached_verilog(
            config, divisor, interface, contents=contents))

    def layers(self, program: Program) -> list[LayerCycles]:
        """Return what every layer takes, by the exact model."""
        return estimate(_image(program), program.known())

    def cycles(self, program: Program) -> int:
        """Return the cycles of a batch."""
        return run_cycles(self.layers(program))

    def area(self, config: Config, family: str = "ecp5") -> dict[str, float]:
        """Estimate the LUT4s of every part, those that a family needs more included."""
        from pyhw.fitter.area import area, luts

        parts = {part.name: part.luts for part in area(config)}
        share = luts(config, family) / sum(parts.values())
        return {name: share * size for name, size in parts.items()}

    def simulate(self, graph: "Graph", program: Program, images: np.ndarray, *,
                 design: Design | None = None, simulator: str = "verilator",
                 netlist: str | None = None, debug: bool = False, stalls: float = 0.0,
                 torch: bool = False, onnx: bool = False, out: Path | None = None,
                 resume: bool = False, chunk: int = 64,
                 progress: "Callable[[dict[str, Any]], None] | None" = None) -> Simulation:
        """Run images on the simulated accelerator and compare every output."""
        from pyhw.simulation.launch import find_simulator
        from pyhw.simulation.network import check_program
        from pyhw.simulation.results import Results
        from pyhw.simulation.session import exports_agree, find_exports, simulate_chunks
        from pyhw.synthesis.netlist import netlist as make_netlist

        find_simulator(simulator)
        find_exports(torch=torch, onnx=onnx)
        image, config = _image(program), program.known()
        check_program(image, graph, config)
        results = Results.open(out, graph, images, resume=resume)
        text = (design or self.generate(config)).verilog
        if netlist is not None:
            text = make_netlist(text, "top", netlist)
        report = simulate_chunks(
            graph, image, config, images, results, verilog=text, simulator=simulator, debug=debug,
            stalls=stalls, chunk=chunk, on_progress=progress)
        others = exports_agree(graph, images[:results.done], results.outputs, torch=torch,
                               onnx=onnx)
        counted = report.counters[-1]["CYCLES"] if report.counters else 0
        return Simulation(results.outputs, counted, report, others)

    def profile(self, graph: "Graph", config: Config, *, batch: int | None = None,
                images: np.ndarray | None = None, simulator: str = "verilator",
                progress: "Callable[[dict[str, Any]], None] | None" = None) -> "Profile":
        """Account for every lane in every cycle of a batch."""
        from pyhw.profiler.profile import profile_program

        count = batch or config.groups
        return profile_program(graph, compile_graph(graph, config, count), config, count,
                               pixels=images, simulator=simulator, progress=progress)

    def synth(self, config: Config, family: str, component: str,
              progress: "Callable[[str], None]") -> "Synthesis":
        """Count the cells of the accelerator, or of one of its engines."""
        from pyhw.synthesis.component import synthesize_component

        return synthesize_component(config, family, component, progress)

    def build(self, source: "Graph | Program", board: "str | Board", folder: Path, *,
              config: Config | None = None, batch: int | None = None,
              double_buffer: bool = False, specialise: bool = False, stand_alone: bool = False,
              clock_mhz: float | None = None, baud: int = 1_000_000, seeds: int = 1,
              progress: "Callable[[str], None]" = lambda text: None,
              finished: "Callable[[str, float, bool], None]" = lambda name, s, kept: None
              ) -> Built:
        """Make a bitstream of a program, or of a graph that is fitted and compiled first."""
        from pyhw.bitstream import Build, build
        from pyhw.bitstream.model import prepare
        from pyhw.bitstream.output import build_folder, missed, write_folder
        from pyhw.boards import find_board

        chosen = find_board(board) if isinstance(board, str) else board
        chosen.make_platform()  # before the fit takes its time: are the packages there?
        if isinstance(source, Program):
            config = source.known() if config is None else config
        with build_folder(folder):
            model = prepare(_image(source) if isinstance(source, Program) else source, chosen,
                            config, batch=batch, double_buffer=double_buffer,
                            specialise=specialise, progress=progress)
            outcome = build(
                Build(model=model, board=chosen, baud=baud, seeds=seeds, stand_alone=stand_alone,
                      clock_mhz=chosen.clock_mhz if clock_mhz is None else clock_mhz),
                folder / "logs", progress, finished)
        with writing(folder):
            record = write_folder(folder, outcome)
        if not outcome.made.routed[0].timing.met:
            raise UserError(missed(outcome, folder))
        return Built(folder, record, chosen)

    @contextmanager
    def _connected(self, program: Program, port: str | None, **options: Any
                   ) -> "Iterator[Device]":
        from pyhw.host.connect import connect

        with connect(_image(program), port, config=program.known(), **options) as device:
            yield device

    def connect(self, program: Program, port: str | None, **options: Any
                ) -> "AbstractContextManager[Device]":
        """Open a board and load a program; options as of `pyhw.host.connect`."""
        return self._connected(program, port, **options)

    def emulate(self, config: Config, opened: "Callable[[str], None]", *,
                program: Program | None, divisor: int, once: bool,
                progress: "Callable[[dict[str, Any]], None] | None") -> None:
        """Simulate the accelerator on a serial line, behind a pseudo-terminal."""
        from pyhw.contents import NOTHING, contents_of
        from pyhw.simulation.serial import emulate

        contents = NOTHING if program is None else contents_of(_image(program), config)
        emulate(config, opened, divisor=divisor, once=once, contents=contents,
                on_progress=progress)

    def measure(self, program: Program, device: "Device", images: np.ndarray, baud: int,
                progress: "Callable[[int], None]") -> "Measured":
        """Send images to a device that has the program, and count seconds and bytes."""
        from pyhw.host.measure import measure

        return measure(device, _image(program), images, baud, progress)

    def read_program(self, path: Path, config: Config | None = None) -> AcceleratorProgram:
        """Read a program; its configuration is the given one, that beside it, or a preset."""
        from pyhw.host.connect import config_of
        from pyhw.inputs import read_program

        image = read_program(path)
        if config is None:
            config = config_given(path, image.config_hash, None, None, ())
        try:
            return AcceleratorProgram(self, image, config_of(image, config))
        except UserError:
            if config is not None:
                raise
        return AcceleratorProgram(self, image, None)


def _image(program: Program) -> Image:
    if not isinstance(program, AcceleratorProgram):
        raise TypeError(f"program must be one of the accelerator, not {type(program).__name__}")
    return program.image
