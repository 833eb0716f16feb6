"""Time the adder layer against the plain broadcast form of its published equations.

Run ``python bench/adder.py``. Both forms get the same tensors in the same run, on all cores that
PyTorch uses; times are medians. The weight gradient counts into both backward times. Memory is
the growth of a fresh process's peak while a form runs forward and backward once.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Waiting threads that spin make a shared computer several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor

from pyhw.nn import adder_conv2d, compiled
from pyhw.nn.reference import adder_forward, adder_gradients

SHAPES = {
    "LeNet-5 conv2 6->16 k5": (6, 14, 16, 5, 1, 0),
    "LeNet-5 conv3 16->120 k5": (16, 5, 120, 5, 1, 0),
    "LeNet-5 fc1 120->84": (120, 1, 84, 1, 1, 0),
    "ResNet-20 16->16 k3": (16, 32, 16, 3, 1, 1),
    "ResNet-20 16->32 k3 s2": (16, 32, 32, 3, 2, 1),
    "ResNet-20 64->64 k3": (64, 8, 64, 3, 1, 1),
}
"""Layer: input channels, input rows, output channels, kernel, stride, padding."""

FORMS = ("plain", "fused")


def operands(name: str, batch: int) -> tuple[Tensor, Tensor, Tensor, int, int]:
    """Return input, weight, upstream gradient, stride and padding of a layer."""
    channels, size, outputs, kernel, stride, padding = SHAPES[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, size, size, generator=generator).relu_()
    weight = torch.randn(outputs, channels, kernel, kernel, generator=generator)
    rows = (size + 2 * padding - kernel) // stride + 1
    gradient = torch.randn(batch, outputs, rows, rows, generator=generator)
    return x, weight, gradient, stride, padding


def passes(form: str, name: str, batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the forward and the backward pass of a layer, ready to be timed."""
    x, weight, gradient, stride, padding = operands(name, batch)
    if form == "plain":
        return (
            lambda: adder_forward(x, weight, stride, padding),
            lambda: adder_gradients(x, weight, gradient, stride, padding),
        )
    x.requires_grad_()
    weight.requires_grad_()
    y = adder_conv2d(x, weight, stride, padding)

    def forward() -> object:
        with torch.no_grad():
            return adder_conv2d(x, weight, stride, padding)

    return forward, lambda: torch.autograd.grad(y, (x, weight), gradient, retain_graph=True)


def median_ms(work: Callable[[], object], seconds: float) -> float:
    """Return the median time of one call, milliseconds, over about `seconds` and at least 5."""
    work()
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def peak_mib(form: str, name: str, batch: int) -> float:
    """Return how far one forward and backward pass raise a fresh process's peak memory, MiB."""
    command = [sys.executable, __file__, "--batch", str(batch), "--memory-of", form, name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak_kib() -> int:
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def _print_peak(form: str, name: str, batch: int) -> None:
    # A small layer first, so that libraries and threads are loaded before the mark is set.
    for warm_up in passes(form, "LeNet-5 fc1 120->84", 2):
        warm_up()
    works = passes(form, name, batch)
    before = _peak_kib()
    for work in works:
        work()
    print((_peak_kib() - before) / 1024)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32, help="images (default 32)")
    parser.add_argument("--seconds", type=float, default=0.5, help="per measurement (default 0.5)")
    parser.add_argument("--memory-of", nargs=2, metavar=("FORM", "LAYER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        form, layer = options.memory_of
        _print_peak(form, layer, options.batch)
        return
    print(f"kernel: {compiled.status()}; {torch.get_num_threads()} threads; batch {options.batch}")
    print(f"{'':26}{'forward, ms':^27}{'backward, ms':^29}{'memory, MiB':>14}")
    print(
        f"{'layer':26}" + f"{'fused':>11}{'plain':>9}{'ratio':>7}" * 2 + f"{'fused':>7}{'plain':>7}"
    )
    for name in SHAPES:
        plain, fused = (passes(form, name, options.batch) for form in FORMS)
        row = f"{name:26}"
        for index in (0, 1):
            slow = median_ms(plain[index], options.seconds)
            fast = median_ms(fused[index], options.seconds)
            row += f"{fast:11.2f}{slow:9.2f}{slow / fast:6.0f}x"
        memory = {form: peak_mib(form, name, options.batch) for form in FORMS}
        print(f"{row}{memory['fused']:7.0f}{memory['plain']:7.0f}", flush=True)


if __name__ == "__main__":
    main()
