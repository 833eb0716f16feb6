"""The compiled adder kernel: built once, cached, and done without where it cannot be had."""

import pytest
import torch

from pyhw import native
from pyhw.nn import adder_conv2d, compiled
from pyhw.nn.geometry import Geometry
from pyhw.nn.reference import adder_forward
from tests.support.adder_cases import CASES, kernel_of, operands


@pytest.fixture
def fresh_kernel(monkeypatch, tmp_path):
    """Let the next use look for a kernel again, in an empty cache."""
    monkeypatch.setenv("PYHW_CACHE", str(tmp_path))
    monkeypatch.delenv("PYHW_KERNEL", raising=False)
    compiled._load.cache_clear()
    yield tmp_path
    compiled._load.cache_clear()


def test_compiled_kernel_goes_to_the_cache_folder(fresh_kernel):
    kernel_of("compiled")
    files = sorted(path for path in fresh_kernel.rglob("*") if path.is_file())
    assert [path.suffix for path in files] == [".sha256", ".so"]
    assert all(path.name.startswith("adder_kernel-") for path in files)


def test_kernel_in_the_cache_is_not_compiled_again(fresh_kernel, monkeypatch):
    kernel_of("compiled")
    compiled._load.cache_clear()
    monkeypatch.setattr(native.subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert compiled.status() == "compiled"


@pytest.mark.usefixtures("fresh_kernel")
def test_a_damaged_kernel_is_compiled_again(fresh_kernel):
    kernel_of("compiled")
    (library,) = (fresh_kernel / "kernels").glob("*.so")
    whole = library.read_bytes()
    library.unlink()  # it is mapped: another file takes its place
    library.write_bytes(whole[:100])
    compiled._load.cache_clear()
    assert compiled.status() == "compiled"
    assert library.stat().st_size == len(whole)


def test_without_a_compiler_the_plain_form_runs(monkeypatch):
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    assert compiled.status() == "plain PyTorch (no C++ compiler found (g++, clang++ or c++))"
    x, weight, _ = operands(CASES[6])
    assert torch.equal(adder_conv2d(x, weight), adder_forward(x, weight, Geometry()))


@pytest.mark.usefixtures("fresh_kernel")
def test_failing_compiler_leaves_the_plain_form(monkeypatch, tmp_path):
    if native.shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    bad = tmp_path / "bad.cpp"
    bad.write_text("not C++")
    monkeypatch.setattr(compiled, "SOURCE", bad)
    assert compiled.status().startswith("plain PyTorch (the C++ compiler failed: ")


@pytest.mark.usefixtures("fresh_kernel")
def test_plain_form_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("PYHW_KERNEL", "plain")
    assert compiled.status() == "plain PyTorch (PYHW_KERNEL=plain)"
