"""The profile of a network on an accelerator: from the exact model, or measured as well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyhw.compiler.cycles import estimate, run_cycles, trace
from pyhw.compiler.disassemble import layer_instructions
from pyhw.errors import UserError
from pyhw.hdl.engines.registry import POOLING
from pyhw.table import html_table, text_table

from .account import CAUSES, Counted, LayerAccount, account, total
from .picture import WIDTH, draw
from .summary import EngineUse, engines, hint, to_json
from .timeline import timeline

if TYPE_CHECKING:
    import numpy as np

    from pyhw.compiler.activity import Span
    from pyhw.compiler.program import Program
    from pyhw.graph.ops import Graph
    from pyhw.hdl.config import Config

    from .measure import Measured

__all__ = ["Profile", "profile_program"]


@dataclass(frozen=True, repr=False, eq=False)
class Profile:
    """Where the cycles of a run go; `pyhw.profile` returns it.

    Attributes
    ----------
    name : str
        Of the network.
    config : Config
    images : int
        Of the run.
    cycles : int
        Clock cycles of the run, without input and output.
    layers : sequence of LayerAccount
        What became of every lane in every cycle, by cause.
    hint : str
        What loses most, and what helps, in a sentence.
    measured : Measured or None
        The hardware's counters, if the run was simulated.

    Examples
    --------
    >>> import pyhw
    >>> graph = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    >>> profile = pyhw.profile(graph, pyhw.preset("default"), batch=8)
    >>> profile.images, profile.svg().startswith("<svg")
    (8, True)
    """

    name: str
    config: "Config"
    images: int
    cycles: int
    layers: Sequence[LayerAccount]
    hint: str
    spans: "Sequence[Span]"
    measured: "Measured | None" = None

    @property
    def title(self) -> str:
        """Network, configuration and images."""
        return f"{self.name} on {self.config.name}, {self.images} image{'s' * (self.images > 1)}"

    @property
    def engines(self) -> list[EngineUse]:
        """How much of every engine the run uses."""
        return engines(self.layers, self.cycles)

    @property
    def disagreement(self) -> str | None:
        """The first figure in which model and hardware differ, in words; None if there is none."""
        if self.measured is None:
            return None
        from .measure import disagreement

        names = [one.name for one in self.layers]
        wrong = disagreement(names, [one.counted for one in self.layers], self.measured.layers)
        if wrong is None and self.measured.cycles != self.cycles:
            wrong = (f"the run: {self.cycles:,} cycles in the model, "
                     f"{self.measured.cycles:,} measured")
        return None if wrong is None else f"model and hardware disagree: {wrong}"

    def images_per_second(self, clock_mhz: float = 100.0) -> float:
        """Return the rate at a clock in MHz, without input and output."""
        return self.images * clock_mhz * 1e6 / self.cycles

    def lines(self, clock_mhz: float = 100.0) -> list[str]:
        """Return what to know of the whole run, at a clock in MHz."""
        out = [f"{self.cycles:,} cycles, {self.cycles / self.images:,.0f} an image: "
               f"{self.images_per_second(clock_mhz):,.0f} images a second at {clock_mhz:g} MHz "
               "without input and output"]
        # Pooling reads a map as it is stored: its utilisation says nothing about the array.
        out += [f"{one.name}, {one.lanes:,} lanes: {one.own:.1%} of its layers' cycles are useful, "
                f"{one.run:.1%} of the run's"
                for one in self.engines if one.name != POOLING.upper()]
        return [*out, self.hint]

    def svg(self, clock_mhz: float = 100.0) -> str:
        """Return the run along time as a picture (SVG), with times at a clock in MHz."""
        return draw(self.title, timeline(self.spans, self.layers, WIDTH), self.layers,
                    clock_mhz * 1e6)

    def to_dict(self, clock_mhz: float = 100.0) -> dict[str, Any]:
        """Return all figures as plain values (``docs/profile.md``), rates at a clock in MHz."""
        measured = None if self.measured is None else self.measured.layers
        return to_json(self.name, self.config, self.images, clock_mhz * 1e6, self.cycles,
                       self.layers, measured=measured, advice=self.hint)

    def _rows(self) -> list[tuple[str, ...]]:
        causes = [cause for cause in CAUSES if any(one.lane_cycles[cause] for one in self.layers)]
        rows = [("layer", "engine", "cycles", *causes)]
        rows += [(one.name, one.engine, f"{one.counted.cycles:,}",
                  *(f"{one.share(cause):.1%}" for cause in causes)) for one in self.layers]
        all_of = total(self.layers)
        shares = (f"{all_of[cause] / sum(all_of.values()):.1%}" for cause in causes)
        return [*rows, ("all", "", f"{self.cycles:,}", *shares)]

    def __repr__(self) -> str:
        return "\n".join([f"Profile of {self.title}", "", text_table(self._rows(), 2),
                          *self.lines()])

    def _repr_html_(self) -> str:
        return self.svg() + html_table(f"Profile of {self.title}", self._rows(), 2)


def profile_program(network: "Graph", program: "Program", config: "Config", images: int, *,
                    pixels: "np.ndarray | None" = None, simulator: str = "verilator",
                    progress: Callable[[dict[str, Any]], None] | None = None) -> Profile:
    """Account for a run of a program.

    Parameters
    ----------
    network : Graph
        What it was compiled from.
    program : pyhw.compiler.Program
    config : Config
        What it was compiled for.
    images : int
        Images of the run, from 1 to the program's batch.
    pixels : integer array (N, H, W, C), optional
        At least so many images to simulate; without them there is no simulation.
    simulator : {'verilator', 'icarus'}
    progress : callable, optional
        Called with events: dicts with ``stage``, ``done``, ``total``.

    Raises
    ------
    UserError
        If there are too few images, an output is wrong, or the simulation fails.
    """
    spans = trace(program, config, images)
    layers = estimate(program, config, images, spans=spans)
    accounts = account(program, config, images, [Counted.of_model(layer) for layer in layers])
    measured = None
    if pixels is not None:
        from pyhw.verilog import cached_verilog

        from .measure import counting, measure

        if len(pixels) < images:
            raise UserError(f"there are {len(pixels)} images and a batch takes {images}")
        counted = counting(config, program)
        if progress is not None:
            progress({"stage": "generate"})
        measured = measure(network, program, counted, pixels[:images],
                           verilog=cached_verilog(counted), simulator=simulator,
                           on_progress=progress)
    return Profile(network.name, config, images, run_cycles(layers), accounts,
                   hint(accounts, config, layer_instructions(program, config)), spans, measured)
