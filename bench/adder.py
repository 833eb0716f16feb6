"""Time the adder layers of ResNet-20 against the plain form of their published equations.

Run ``python bench/adder.py`` (some minutes). All forms get the same tensors in the same run, on all
cores that PyTorch uses. ``plain`` is `pyhw/nn/reference.py`, broadcasting ``x - w``, a few images
at a time: the whole batch at once needs up to a gigabyte and is slower still. ``cdist`` is
``torch.cdist(p=1)`` on unfolded patches, the forward pass only. Times are medians of at least
three. Memory is what a fresh process holds at its peak, inputs included, while a form runs forward
and backward once (the plain one the whole batch), against the size of inputs and outputs: input,
weight, output and the gradients of the three.
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
from torch.nn import functional as F

from pyhw.nn import adder_conv2d, compiled
from pyhw.nn.geometry import Geometry
from pyhw.nn.reference import adder_forward, adder_gradients

SHAPES = {
    "16->16 k3": (6, 16, 32, 16, 3, 1),
    "16->32 k3 s2": (1, 16, 32, 32, 3, 2),
    "16->32 k1 s2": (1, 16, 32, 32, 1, 2),
    "32->32 k3": (5, 32, 16, 32, 3, 1),
    "32->64 k3 s2": (1, 32, 16, 64, 3, 2),
    "32->64 k1 s2": (1, 32, 16, 64, 1, 2),
    "64->64 k3": (5, 64, 8, 64, 3, 1),
}
"""Layer: how many the network has, input channels, input rows, output channels, kernel, stride."""

Passes = dict[str, Callable[[], object]]


def operands(name: str, batch: int) -> tuple[Tensor, Tensor, Tensor, Geometry]:
    """Return input, weight and upstream gradient of a layer."""
    _, channels, size, outputs, kernel, stride = SHAPES[name]
    geometry = Geometry((stride, stride), (kernel // 2, kernel // 2))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, size, size, generator=generator).relu_()
    weight = torch.randn(outputs, channels, kernel, kernel, generator=generator)
    gradient = torch.randn(geometry.out_shape(x, weight), generator=generator)
    return x, weight, gradient, geometry


def plain(name: str, batch: int, images: int) -> Passes:
    """Return both passes of the plain form, `images` at a time."""
    x, weight, gradient, geometry = operands(name, batch)
    parts = list(zip(x.split(images), gradient.split(images), strict=True))

    def forward() -> Tensor:
        return torch.cat([adder_forward(x, weight, geometry) for x, _ in parts])

    def backward() -> tuple[Tensor, Tensor]:
        found = [adder_gradients(x, weight, g, geometry) for x, g in parts]
        return torch.cat([x for x, _ in found]), torch.stack([w for _, w in found]).sum(0)

    return {"forward": forward, "backward": backward}


def fused(name: str, batch: int) -> Passes:
    """Return both passes of the layer's own form."""
    x, weight, gradient, geometry = operands(name, batch)
    layer = (geometry.stride, geometry.padding)
    y = adder_conv2d(x.requires_grad_(), weight.requires_grad_(), *layer, eta=None)

    def forward() -> Tensor:
        with torch.no_grad():
            return adder_conv2d(x, weight, *layer, eta=None)

    def backward() -> tuple[Tensor, ...]:
        return torch.autograd.grad(y, (x, weight), gradient, retain_graph=True)

    return {"forward": forward, "backward": backward}


def cdist(name: str, batch: int) -> Passes:
    """Return the forward pass by ``torch.cdist`` on unfolded patches."""
    x, weight, gradient, geometry = operands(name, batch)
    kernel = (weight.shape[2], weight.shape[3])

    def forward() -> Tensor:
        patches = F.unfold(x, kernel, padding=geometry.padding, stride=geometry.stride)
        distance = torch.cdist(patches.mT, weight.flatten(1), p=1)  # (N, L, O)
        return -distance.mT.reshape(gradient.shape)

    return {"forward": forward}


def median_ms(work: Callable[[], object], seconds: float, least: int = 3) -> float:
    """Return the median time of one call, milliseconds, over about `seconds`."""
    work()
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def check(name: str, batch: int, images: int) -> None:
    """Stop if the forms do not agree."""
    slow, fast = plain(name, batch, images), fused(name, batch)
    for index, found in enumerate(fast["backward"]()):
        expected = slow["backward"]()[index]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(fast["forward"](), slow["forward"](), rtol=1e-4, atol=1e-2)


def needed_mib(name: str, batch: int) -> float:
    """Return the size of inputs and outputs: x, weight, y and their gradients."""
    x, weight, gradient, _ = operands(name, batch)
    return 2 * 4 * (x.numel() + weight.numel() + gradient.numel()) / 2**20


def peak_mib(form: str, name: str, batch: int) -> float:
    """Return how far one forward and backward pass raise a fresh process's peak memory, MiB."""
    command = [sys.executable, __file__, "--batch", str(batch), "--memory-of", form, name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak_kib() -> int:
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def _once(form: str, name: str, batch: int) -> object:
    """Run forward and backward; return what must be in memory at the end."""
    x, weight, gradient, geometry = operands(name, batch)
    if form == "plain":
        y = adder_forward(x, weight, geometry)
        return x, weight, gradient, y, adder_gradients(x, weight, gradient, geometry)
    layer = (geometry.stride, geometry.padding)
    y = adder_conv2d(x.requires_grad_(), weight.requires_grad_(), *layer)
    y.backward(gradient)
    return x, weight, gradient, y


def _print_peak(form: str, name: str, batch: int) -> None:
    # A small layer first, so that libraries and threads are loaded before the mark is set.
    _once(form, "16->32 k1 s2", 1)
    before = _peak_kib()
    kept = _once(form, name, batch)
    print((_peak_kib() - before) / 1024)
    del kept


def row(name: str, count: int, times: list[float]) -> str:
    """Return a line of the table: milliseconds, and how many times slower the other forms are."""
    fast, slow, by_cdist, fast_back, slow_back = times
    both = (slow + slow_back) / (fast + fast_back)
    return (
        f"{name:14}{count:5}{fast:9.2f}{slow:9.1f}{by_cdist:8.1f}{by_cdist / fast:8.1f}x"
        f"{fast_back:9.2f}{slow_back:9.1f}{slow_back / fast_back:7.1f}x{both:6.1f}x"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32, help="images (default 32)")
    parser.add_argument("--seconds", type=float, default=1.0, help="per measurement (default 1)")
    parser.add_argument("--images", type=int, default=4, help="of a chunk, plain form (default 4)")
    parser.add_argument("--memory-of", nargs=2, metavar=("FORM", "LAYER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        _print_peak(*options.memory_of, options.batch)
        return
    print(
        f"kernel: {compiled.status()}; {torch.get_num_threads()} threads; batch {options.batch}; "
        f"plain form {options.images} images at a time"
    )
    for columns in (
        f"{'':19}{'forward, ms':^35}{'backward, ms':^26}{'both':>7}{'memory, MiB':>21}",
        f"{'layer':14}{'count':>5}" + f"{'fused':>9}{'plain':>9}{'cdist':>8}{'ratio':>9}"
        f"{'fused':>9}{'plain':>9}{'ratio':>8}{'ratio':>7}{'needed':>9}{'peak':>6}{'plain':>6}",
    ):
        print(columns)
    total = [0.0] * 5
    for name, (count, *_) in SHAPES.items():
        check(name, options.batch, options.images)
        forms = (
            fused(name, options.batch),
            plain(name, options.batch, options.images),
            cdist(name, options.batch),
        )
        works = [form["forward"] for form in forms] + [form["backward"] for form in forms[:2]]
        times = [median_ms(work, options.seconds) for work in works]
        total = [sum_ + count * ms for sum_, ms in zip(total, times, strict=True)]
        memory = [needed_mib(name, options.batch)]
        memory += [peak_mib(form, name, options.batch) for form in ("fused", "plain")]
        print(
            row(name, count, times) + f"{memory[0]:9.1f}{memory[1]:6.1f}{memory[2]:6.0f}",
            flush=True,
        )
    print(row("total", sum(count for count, *_ in SHAPES.values()), total))


if __name__ == "__main__":
    main()
