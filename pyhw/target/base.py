"""What every target does, and what its programs tell."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pyhw.table import html_table, text_table

if TYPE_CHECKING:
    import numpy as np

    from pyhw.compiler.cycles import LayerCycles
    from pyhw.graph.ops import Graph
    from pyhw.host.device import Device
    from pyhw.host.measure import Measured
    from pyhw.profiler.profile import Profile
    from pyhw.synthesis.component import Synthesis

    from .built import Built
    from .design import Design
    from .proposal import Proposal
    from .simulation import Simulation

__all__ = ["Program", "Progress", "Target"]

Progress = Callable[[int, int | None, str | None], None]
"""Called with what is done, the total if it is known, and what it is."""


class Program(ABC):
    """A network that has been compiled for a configuration of a target.

    Attributes
    ----------
    target : Target
    config : Config or None
        What it was compiled for; None if a file was read whose configuration is not known.

    Examples
    --------
    >>> import pyhw
    >>> graph = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    >>> program = pyhw.compile(graph, pyhw.preset("default"))
    >>> program.input_shape, program.output_shape
    ((28, 28, 1), (1, 1, 10))
    >>> [layer.name for layer in program.layers]
    ['conv1', 'pool1', 'conv2', 'pool2', 'fc']
    """

    target: "Target"
    config: Any

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the graph."""

    @property
    @abstractmethod
    def graph(self) -> str:
        """Hash of the graph that it was compiled from."""

    @property
    @abstractmethod
    def batch(self) -> int:
        """Images that it takes at once."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""

    @property
    @abstractmethod
    def output_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image's output."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of its file."""

    @abstractmethod
    def input_graph(self) -> "Graph":
        """Return a graph of its input alone: shape and format of an image."""

    @abstractmethod
    def known(self) -> Any:
        """Return the configuration; `UserError` with what to do if it is not known."""

    @abstractmethod
    def memory_map(self, device: str = "ecp5-85f") -> str:
        """Return, as lines of text, where every map lies and what the memories take of a device."""

    @abstractmethod
    def listing(self) -> str:
        """Return its instructions, or what stands for them, as lines of text."""

    def notes(self) -> str:
        """Return what else is worth a line to people; empty if nothing is."""
        return ""

    @abstractmethod
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, all of it or nothing; `UserError` if that is not possible."""

    @property
    def layers(self) -> "list[LayerCycles]":
        """What every layer takes, in order; `UserError` if the configuration is not known."""
        return self.target.layers(self)

    @property
    def cycles(self) -> int:
        """Clock cycles of a batch, from the first instruction to the last result: the hardware's
        own count, without input and output; `UserError` if the configuration is not known.
        """
        return self.target.cycles(self)

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("layer", "engine", "cycles", "utilisation")]
        rows += [(one.name, one.engine, f"{one.cycles:,}",
                  f"{one.utilisation:.0%}" if one.utilisation else "") for one in self.layers]
        return [*rows, ("all", "", f"{self.cycles:,}", "")]

    def _title(self) -> str:
        where = f" for {self.config.name}" if self.config is not None else ""
        return (f"Program {self.name}{where}: {self.batch} image{'s' * (self.batch > 1)} at once, "
                f"{self.size:,} bytes")

    def __repr__(self) -> str:
        if self.config is None:
            return self._title() + ", configuration not known"
        return f"{self._title()}\n\n{text_table(self._rows(), 2)}".rstrip()

    def _repr_html_(self) -> str:
        if self.config is None:
            return html_table(self._title(), [("configuration not known",)])
        return (html_table(self._title(), self._rows(), 2)
                + f"<details><summary>memory map</summary><pre>{escape(self.memory_map())}</pre>"
                + "</details>")


class Target(Protocol):
    """What turns an integer graph into hardware: `pyhw.target.TARGETS` has every one by name.

    The functions of `import pyhw` say what the arguments mean.

    Examples
    --------
    >>> import pyhw
    >>> pyhw.target.TARGETS["accelerator"].takes(pyhw.preset("tiny"))
    True
    """

    name: str
    magic: bytes
    """First bytes of its program files."""

    def takes(self, config: Any) -> bool:
        """Return whether something is a configuration of this target."""

    def fit(self, graph: "Graph", device: str, *, batch: int | None = None,
            objective: str = "throughput", specialise: bool = False,
            progress: Progress | None = None) -> "Proposal":
        """Propose configurations for a graph on a device, the best first."""

    def compile(self, graph: "Graph", config: Any, *, batch: int | None = None,
                double_buffer: bool = False) -> Program:
        """Compile a graph for a configuration."""

    def generate(self, config: Any, *, interface: str = "bytes", divisor: int | None = None,
                 program: Program | None = None, family: str | None = None) -> "Design":
        """Return the hardware of a configuration as Verilog."""

    def layers(self, program: Program) -> "list[LayerCycles]":
        """Return what every layer takes, by the exact model."""

    def cycles(self, program: Program) -> int:
        """Return the cycles of a batch."""

    def area(self, config: Any, family: str = "ecp5") -> dict[str, float]:
        """Estimate the LUT4s of every part."""

    @property
    def simulate(self) -> "Callable[..., Simulation]":
        """Run images on the simulated hardware and compare every output (`pyhw.simulate`)."""

    def profile(self, graph: "Graph", config: Any, *, batch: int | None = None,
                images: "np.ndarray | None" = None, simulator: str = "verilator",
                progress: "Callable[[dict[str, Any]], None] | None" = None) -> "Profile":
        """Account for every lane in every cycle (`pyhw.profile`)."""

    def synth(self, config: Any, family: str, component: str,
              progress: "Callable[[str], None]") -> "Synthesis":
        """Count the cells of the hardware, or of a part of it (`pyhw.synth`)."""

    @property
    def build(self) -> "Callable[..., Built]":
        """Make a bitstream of a graph or a program for a board (`pyhw.build`)."""

    @property
    def connect(self) -> "Callable[..., AbstractContextManager[Device]]":
        """Open a board, by program and port, with the program loaded (`pyhw.connect`)."""

    def emulate(self, config: Any, opened: Callable[[str], None], *, program: Program | None,
                divisor: int, once: bool,
                progress: "Callable[[dict[str, Any]], None] | None") -> None:
        """Simulate the hardware behind a port (`pyhw.emulate`)."""

    def measure(self, program: Program, device: "Device", images: "np.ndarray", baud: int,
                progress: Callable[[int], None]) -> "Measured":
        """Send images to a device that has the program, and count seconds and bytes."""

    def read_program(self, path: Path, config: Any = None) -> Program:
        """Read a program's file."""
