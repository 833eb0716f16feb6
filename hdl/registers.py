"""The one place where the registers of an accelerator in a system are laid out.

Decoder, values and the table in ``docs/system.md`` are derived from `REGISTERS`.
"""

from dataclasses import dataclass

from amaranth.lib import enum

from .layout import Layout

__all__ = ["Access", "ADDRESS_BITS", "IDENTITY", "MAP_VERSION", "REGISTERS", "Register",
           "RESET_CYCLES", "find_register"]


class Access(enum.Enum, shape=2):
    """What a register does with a write."""

    READ = 0
    """Read only: a write is answered with SLVERR and has no effect."""
    WRITE = 1
    """Holds what was written."""
    CLEAR = 2
    """A bit that is written as 1 becomes 0."""
    START = 3
    """A bit that is written as 1 starts something; it reads as 1 until that is done."""


@dataclass(frozen=True)
class Register:
    """One register: a byte address that is a multiple of 4, and up to 32 bits of fields."""

    address: int
    access: Access
    fields: Layout
    doc: str

    @property
    def name(self):
        """Name, as in the documentation."""
        return self.fields.name


IDENTITY = int.from_bytes(b"pyhw", "big")
"""What `ID` reads."""
MAP_VERSION = 1
"""Version of this map; one that adds registers keeps it."""
ADDRESS_BITS = 12
"""Of the AXI4-Lite port: 4 kB, the least that address decoders of systems tell apart."""
RESET_CYCLES = 16
"""Clock cycles that a soft reset takes."""


def _register(address, name, access, doc, rows):
    return Register(address, access, Layout(name, rows), doc)


REGISTERS = (
    _register(0x00, "ID", Access.READ, "What this is.", [
        ("id", 32, f"{IDENTITY:#x}, `pyhw` as text")]),
    _register(0x04, "VERSION", Access.READ, "Versions.", [
        ("isa", 16, "of the instruction set"), ("frame", 8, "of the frames on the streams"),
        ("map", 8, f"of this table: {MAP_VERSION}")]),
    _register(0x08, "HASH0", Access.READ, "Configuration hash, its first 4 bytes.", [
        ("hash", 32, "byte 0 in bits 7:0")]),
    _register(0x0c, "HASH1", Access.READ, "Configuration hash, its last 4 bytes.", [
        ("hash", 32, "byte 4 in bits 7:0")]),
    _register(0x10, "LIMITS", Access.READ, "What a host must know of the configuration.", [
        ("groups", 8, "groups of lanes: images that run side by side"),
        ("zero", 8, "0"), ("max_payload", 16, "longest payload of a frame, bytes")]),
    _register(0x14, "STATUS", Access.READ, "What it is doing.", [
        ("running", 1, "a run is going on"), ("program", 1, "a program is loaded"),
        ("zero", 14, "0"), ("layers_done", 16, "layers completed in this run, or in the last")]),
    _register(0x18, "CYCLES", Access.READ, "Time of the run, or of the last one.", [
        ("cycles", 32, "clock cycles; stays at the largest value")]),
    _register(0x1c, "RUNS", Access.READ, "Runs that have ended.", [
        ("runs", 32, "since reset or soft reset, modulo 2^32")]),
    _register(0x20, "CONTROL", Access.START, "Control.", [
        ("soft_reset", 1, "reset all but these registers: the program is gone")]),
    _register(0x24, "IRQ_ENABLE", Access.WRITE, "Which causes raise `interrupt`.", [
        ("run_end", 1, "a run has ended")]),
    _register(0x28, "IRQ_PENDING", Access.CLEAR, "Causes since they were cleared.", [
        ("run_end", 1, "a run has ended, by itself or by RESET")]),
)
"""In order of addresses."""


def find_register(name):
    """Return a register by its name; `KeyError` without one."""
    return {register.name: register for register in REGISTERS}[name]
