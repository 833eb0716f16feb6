"""The adder layers of ResNet-20 on a GPU, and what an epoch takes: ``python -m bench.gpu``.

Sums and gradients are compared with the plain form first; a difference ends it. Then each layer is
timed beside ``torch.nn.functional.conv2d`` of the same shape, in turn, and one epoch is trained.
With ``--train NAME ...`` the networks are trained one after the other by ``pyhw train`` until
`--minutes` are over; checkpoints go into `--out`, and the same command goes on with them.
"""

import argparse
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from bench.adder import SHAPES, operands
from pyhw.nn import fused, plain

PEAK_TERMS = {"NVIDIA H200": 33.5e12, "NVIDIA A100": 9.7e12}
"""Differences and sums a second that a GPU's units can do at best: half its float32 operations."""


def milliseconds(function, rounds=20):
    """Return the median time of a call on the GPU."""
    times = []
    for _ in range(rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        function()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[rounds // 2]


def check(x, weight, gradient, geometry):
    """End with status 1 if results are not those of the plain form, but for rounding."""
    pairs = {
        "sums": (fused.forward(x, weight, geometry), plain.forward(x, weight, geometry)),
        "input gradient": (fused.grad_input(x, weight, gradient, geometry),
                           plain.grad_input(x, weight, gradient, geometry)),
    }  # fmt: skip
    for name, (found, wanted) in pairs.items():
        error = ((found - wanted).norm() / wanted.norm()).item()
        if not error < 1e-5:
            raise SystemExit(f"{name} differ by {error:.2g} of their size")


def table(batch):
    """Print what each layer takes."""
    name = torch.cuda.get_device_name()
    peak = next((terms for gpu, terms in PEAK_TERMS.items() if name.startswith(gpu)), None)
    print(f"{name}, PyTorch {torch.__version__}, batch {batch}")
    print("| layer | forward, ms | of the peak | input gradient, ms | weight gradient, ms "
          "| conv2d forward, ms |\n|---|---:|---:|---:|---:|---:|")  # fmt: skip
    for shape in SHAPES:
        x, weight, gradient, geometry = operands(shape, batch)
        x, weight, gradient = (part.cuda() for part in (x, weight, gradient))
        check(x[:32], weight, gradient[:32], geometry)
        sizes = {"stride": geometry.stride, "padding": geometry.padding}
        parts = (
            partial(fused.forward, x, weight, geometry),
            partial(fused.grad_input, x, weight, gradient, geometry),
            partial(fused.grad_weight, x, weight, gradient, geometry),
            partial(F.conv2d, x, weight, **sizes),
        )
        forward, grad_input, grad_weight, ordinary = map(milliseconds, parts)
        terms = gradient.numel() * weight[0].numel()
        share = f"{terms / (forward / 1e3) / peak:.0%}" if peak else ""
        print(f"| {shape} | {forward:.3f} | {share} | {grad_input:.3f} | {grad_weight:.3f} "
              f"| {ordinary:.3f} |", flush=True)  # fmt: skip


def train(names, folder, data, minutes, options):
    """Train networks by the command line until time is over; checkpoints stay."""
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    for name in names:
        out = folder / f"{name}.pt"
        command = [sys.executable, "-m", "pyhw", "train", name, "--data", "cifar10", "--data-dir",
                   str(data), "--device", "cuda", "--out", str(out), *options]  # fmt: skip
        if out.exists():
            command.append("--resume")
        left = end - time.monotonic()
        if left < 5:
            print(f"{name}: no time left; the same command goes on")
            continue
        try:
            subprocess.run(command, check=False, timeout=left)
        except subprocess.TimeoutExpired:
            print(f"{name}: time is over; {out} has all whole epochs")


def main():
    """Measure, then train what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--train", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--options", default="", help='more for pyhw train: "--epochs 400"')
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("build/gpu"))
    parser.add_argument("--minutes", type=float, default=8.0, help="for all trainings together")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU: PyTorch sees no CUDA device here")
    table(args.batch)
    train(args.train, args.out, args.data, args.minutes, args.options.split())


if __name__ == "__main__":
    main()
