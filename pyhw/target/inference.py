"""Images through a board, kept as they come back, and how fast it was."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyhw.errors import UserError
from pyhw.graph.execute import run
from pyhw.host.link import DeviceError
from pyhw.host.serial_port import PortError
from pyhw.simulation.network import Difference, check_graph, first_difference
from pyhw.simulation.results import Results, kept_at_times
from pyhw.table import html_table

from .base import Program, Progress

if TYPE_CHECKING:
    from pyhw.graph.ops import Graph
    from pyhw.host.measure import Measured

__all__ = ["Inference", "infer_kept", "measure_rate"]


@dataclass(frozen=True, repr=False, eq=False)
class Inference:
    """Outputs of a board; `pyhw.infer` returns it.

    Attributes
    ----------
    outputs : int64 array (N, H, W, C)
        Of all images, those that were kept before included.
    sent : int
        Images that were sent now.
    seconds : float
        From the first of them to the last result.
    retries : int
        Frames that were sent again.
    out : Path or None
        Where the outputs are kept.
    difference : Difference or None
        The first value that is not the golden executor's, if there was a graph to compare with.
    """

    outputs: np.ndarray
    sent: int
    seconds: float
    retries: int
    out: Path | None
    difference: Difference | None = None

    def lines(self) -> list[str]:
        """Return what to know of it."""
        if not self.sent:
            return [f"{self.out} holds the outputs of all {len(self.outputs)} images already"]
        return [f"{self.sent} images in {self.seconds:.2f} s, "
                f"{self.sent / self.seconds:,.1f} a second, {self.retries} retries"]

    def __repr__(self) -> str:
        return "\n".join(["Inference", *self.lines()])

    def _repr_html_(self) -> str:
        return html_table("Inference", [("",), *((line,) for line in self.lines())])


def infer_kept(program: Program, images: np.ndarray, *, graph: "Graph | None", port: str | None,
               loaded: bool, out: Path | None, resume: bool, progress: Progress,
               **options: Any) -> Inference:
    """Send the images whose outputs are not kept yet; see `pyhw.infer`."""
    program.known()
    if graph is not None:
        check_graph(program.name, program.graph, graph)
    results = Results.of(out, program.graph, program.output_shape, images, resume=resume)
    first, seconds, retries, started = results.done, 0.0, 0, False
    try:
        if first < len(images):
            with program.target.connect(program, port, progress=_loading(progress, loaded),
                                        loaded=loaded, **options) as device:
                started, before = True, device.traffic
                progress(first, len(images), "sending images")
                for done in kept_at_times(results, device.stream(images[first:])):
                    progress(done, len(images), None)
                spent = device.traffic.since(before)
                seconds, retries = spent.started, spent.retries
    except KeyboardInterrupt:
        raise KeyboardInterrupt(results.kept()) from None
    except (DeviceError, PortError) as error:
        if not started:
            raise
        raise UserError(f"{error}; {results.kept()}") from None
    outputs, difference = results.outputs, None
    if graph is not None:
        difference = first_difference(graph.output, run(graph, images), outputs)
    return Inference(outputs, results.done - first, seconds, retries, out, difference)


def measure_rate(program: Program, images: np.ndarray, *, port: str | None, baud: int,
                 loaded: bool, progress: Progress, **options: Any) -> "Measured":
    """Send images and count seconds and bytes; see `pyhw.bench`."""
    done = 0

    def count(images_done: int) -> None:
        nonlocal done
        done = images_done
        progress(done, len(images), "sending images")

    try:
        with program.target.connect(program, port, progress=_loading(progress, loaded), baud=baud,
                                    loaded=loaded, **options) as device:
            return program.target.measure(program, device, images, baud, count)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{done} of {len(images)} images were answered") from None
    except (DeviceError, PortError) as error:
        raise UserError(f"{error}; {done} of {len(images)} images were answered") from None


def _loading(progress: Progress, loaded: bool) -> Callable[[int, int], None]:
    text = "checking the program" if loaded else "loading the program"
    return lambda done, total: progress(done, total, text)
