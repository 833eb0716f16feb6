"""Synthesis of an accelerator, or of one of its engines, to the cells of a family."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyhw.errors import UserError
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.engines.registry import POOLING, known_engines
from pyhw.table import html_table, text_table

from .report import SynthesisReport

__all__ = ["SYSTEM", "Synthesis", "check_component", "components", "synthesize_component"]

SYSTEM = "system"
"""The component that is everything."""


@dataclass(frozen=True, repr=False, eq=False)
class Synthesis:
    """Cells of an accelerator on a family; `pyhw.synth` returns it.

    Attributes
    ----------
    config : Config
        With memories as the family has them.
    component : str
        ``system``, or an engine: ``l1-engine``.
    report : SynthesisReport
        `lut4` (LUT4 equivalents), `flip_flops`, `block_rams`, `single_port_rams`, `dsps`, `cells`
        by kind, `seconds`, `cached`.
    """

    config: Config
    component: str
    report: SynthesisReport

    @property
    def engines(self) -> dict[str, EngineConfig]:
        """The engines that the component has."""
        only = components()[self.component]
        return {name: engine for name, engine in self.config.engines.items()
                if only in (None, name)}

    @property
    def lanes(self) -> int:
        """Lanes of its engines, all groups together."""
        return self.config.groups * sum(one.rows * one.lanes for one in self.engines.values())

    @property
    def lut4_per_lane(self) -> float:
        """LUT4 equivalents over lanes."""
        return self.report.lut4_per_lane(self.lanes)

    @property
    def title(self) -> str:
        """What was synthesised, and its engines as groups x rows x lanes."""
        shape = ", ".join(f"{name} {self.config.groups} x {engine.rows} x {engine.lanes}"
                          for name, engine in self.engines.items())
        return f"{self.component} of {self.config.name} on {self.report.family}: {shape}"

    @property
    def yosys(self) -> str:
        """The version of Yosys, and how long it took."""
        source = "kept from an earlier run" if self.report.cached else "done"
        return f"Yosys {self.report.yosys}, {self.report.seconds:.1f} s, {source}"

    def counts(self) -> list[tuple[str, str]]:
        """Return what is counted, each with its number as text."""
        report = self.report
        rows = [
            ("LUT4 equivalents", f"{report.lut4:,}"),
            (f"LUT4 per lane ({self.lanes:,} lanes)", f"{self.lut4_per_lane:.1f}"),
            ("flip-flops", f"{report.flip_flops:,}"),
            ("block RAMs", f"{report.block_rams:,}"),
        ]
        if report.single_port_rams:
            rows.append(("single-port RAMs", f"{report.single_port_rams:,}"))
        return [*rows, ("DSP blocks", f"{report.dsps:,}")]

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return self.report.as_dict() | {
            "component": self.component, "config": self.config.name, "lanes": self.lanes,
            "lut4_per_lane": self.lut4_per_lane}

    def _rows(self) -> list[tuple[str, str]]:
        cells = [(kind, f"{number:,}") for kind, number in self.report.cells.items()]
        return [("", "count"), *self.counts(), *cells]

    def __repr__(self) -> str:
        return f"{self.title}\n\n{text_table(self._rows())}{self.yosys}"

    def _repr_html_(self) -> str:
        return html_table(self.title, self._rows())


def components() -> dict[str, str | None]:
    """Return the parts that can be synthesised by themselves, each with its engine if it is one."""
    engines = [name for name in known_engines() if name != POOLING]
    return {SYSTEM: None} | {f"{name}-engine": name for name in engines}


def check_component(name: str) -> None:
    """Raise `UserError` if there is no such component."""
    if name not in components():
        raise UserError(f"component must be one of {', '.join(components())}, not {name!r}")


def synthesize_component(config: Config, family: str, component: str = SYSTEM,
                         progress: Callable[[str], None] = lambda stage: None) -> Synthesis:
    """Count the cells of an accelerator, or of an engine of it.

    Parameters
    ----------
    config : Config
    family : str
        A key of `pyhw.families.FAMILIES`.
    component : str
        A key of `components`.
    progress : callable
        Called with what is going on.

    Raises
    ------
    UserError
        If there is no such family or component, the configuration lacks it, something in it
        multiplies, or Yosys fails.
    """
    from pyhw.families import find_family
    from pyhw.fitter.memories import in_blocks
    from pyhw.synthesis.yosys import multiplier_free_check, synthesize, to_rtlil
    from pyhw.verilog import cached_verilog

    find_family(family)
    check_component(component)
    config, engine = in_blocks(config, family), components()[component]
    if not (config.engines if engine is None else engine in config.engines):
        raise UserError(f"the configuration has no {component.replace('-', ' ')}")
    progress("elaborating")
    if engine is None:
        # From Verilog, because Yosys merges the two halves of a memory port there only.
        design = cached_verilog(config)
    else:
        from pyhw.hdl.engines.lone_engine import LoneEngine

        design = to_rtlil(LoneEngine(config, engine))
    progress("searching for multipliers")
    multiplier_free_check(design)
    progress("starting Yosys (the first start takes a minute)")
    return Synthesis(config, component, synthesize(design, "top", family, on_stage=progress))
