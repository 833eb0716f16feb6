"""A simulated accelerator on a serial line: measured, or as a port that `pyhw infer` opens."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyhw.compiler.program import Program
from pyhw.errors import UserError
from pyhw.hdl.config import Config
from pyhw.hdl.config_file import config_to_json
from pyhw.hdl.contents import NOTHING, Contents
from pyhw.host.inference import check_images
from pyhw.verilog import cached_verilog

from .launch import BenchResult, ProgressCallback, run_bench

__all__ = ["DIVISOR", "Span", "Transfer", "emulate", "transfer"]

DIVISOR = 8
"""Clock cycles of a bit: short, because every one is simulated."""


@dataclass(frozen=True)
class Span:
    """A part of a transfer.

    Parameters
    ----------
    data, sent : int
        Bytes of program or images, and all bytes on the line to the device.
    cycles : int
        From its first byte to its last reply.
    divisor : int
        Clock cycles of a bit.
    """

    data: int
    sent: int
    cycles: int
    divisor: int

    @property
    def efficiency(self) -> float:
        """Data bytes as a part of what the line could have carried in that time."""
        return self.data * 10 * self.divisor / self.cycles


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What a simulated transfer showed."""

    outputs: np.ndarray
    load: Span
    images: Span
    retries: int
    overruns: int
    bench: BenchResult


def transfer(config: Config, program: Program, images: np.ndarray, *, divisor: int = DIVISOR,
             ahead: int = 2, verilog: str | None = None, simulator: str = "verilator",
             on_progress: ProgressCallback | None = None) -> Transfer:
    """Load a program and run images over a simulated serial line, with the host's own driver.

    Parameters
    ----------
    config : Config
    program : Program
    images : integer array (N, H, W, C)
    divisor : int
        Clock cycles of a bit.
    ahead : int
        Frames sent before the first is answered.
    verilog : str, optional
        What is simulated, by default the accelerator as it is generated.
    simulator : {"verilator", "icarus"}
    on_progress : callable, optional
        See `run_bench`.

    Raises
    ------
    UserError
        If the bench fails.
    """
    with tempfile.TemporaryDirectory(prefix="pyhw-serial-") as name:
        folder = Path(name)
        paths = {key: str(folder / key) for key in ("config", "program", "images.npy",
                                                    "outputs.npy")}
        Path(paths["config"]).write_text(config_to_json(config), encoding="utf-8")
        program.save(paths["program"])
        np.save(paths["images.npy"], check_images(program, images))
        if verilog is None:
            verilog = cached_verilog(config, divisor)
        bench = _run("transfer", divisor, on_progress, verilog, simulator, {
            "config": paths["config"], "program": paths["program"], "ahead": ahead,
            "images": paths["images.npy"], "outputs": paths["outputs.npy"]})
        outputs = np.load(paths["outputs.npy"])
    spans = {key: Span(**bench.report[key], divisor=divisor) for key in ("load", "images")}
    return Transfer(outputs=outputs, **spans, retries=bench.report["retries"],
                    overruns=bench.report["overruns"], bench=bench)


def emulate(config: Config, opened: Callable[[str], None], *, divisor: int = DIVISOR,
            once: bool = False, contents: Contents = NOTHING, verilog: str | None = None,
            simulator: str = "verilator", on_progress: ProgressCallback | None = None
            ) -> BenchResult:
    """Simulate an accelerator behind a pseudo-terminal.

    Parameters
    ----------
    config : Config
    opened : callable
        Called with the name of the port as soon as it can be opened.
    divisor : int
        Clock cycles of a bit.
    once : bool
        End when the port has been opened and closed; otherwise only an interruption ends it.
    contents : Contents
        A program that is there from the start.
    verilog, simulator
        As in `transfer`.
    on_progress : callable, optional
        See `run_bench`.
    """

    def show(event: dict[str, Any]) -> None:
        if event["stage"] == "pty":
            opened(event["port"])
        elif on_progress is not None:
            on_progress(event)

    if verilog is None:
        verilog = cached_verilog(config, divisor, contents=contents)
    return _run("bridge", divisor, show, verilog, simulator, {"once": once})


def _run(testcase: str, divisor: int, on_progress: ProgressCallback | None,
         verilog: str, simulator: str, parameters: dict[str, Any]) -> BenchResult:
    bench = run_bench(
        verilog=verilog, bench="pyhw.sim.tb_serial", testcase=testcase, simulator=simulator,
        parameters={"divisor": divisor, **parameters}, on_progress=on_progress)
    if not bench.passed:
        raise UserError(f"simulation failed: {'; '.join(bench.failures)}; see {bench.log}")
    return bench
