"""The hardware of a configuration: Verilog, and the files beside it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyhw.errors import UserError, writing
from pyhw.files import write_atomically
from pyhw.inputs import read_file
from pyhw.table import html_table

if TYPE_CHECKING:
    from pyhw.asic import AsicOutput

__all__ = ["Design", "read_design"]


@dataclass(frozen=True, repr=False, eq=False)
class Design:
    """A generated accelerator; its Verilog is made when it is first asked for.

    Attributes
    ----------
    config : Config
    interface : {'bytes', 'serial', 'axi'}
        What stands around its two byte streams.
    divisor : int or None
        Clock cycles of a bit of the serial line.

    Examples
    --------
    >>> import pyhw
    >>> pyhw.generate(pyhw.preset("tiny")).lanes
    {'l1': 32, 'shift': 32}
    """

    config: Any
    interface: str
    divisor: int | None
    make: Callable[[], str]

    @cached_property
    def verilog(self) -> str:
        """The text, with the top module ``top``; `UserError` if it cannot be generated."""
        return self.make()

    def save(self, path: str | os.PathLike[str], *, fusesoc: bool = False) -> list[Path]:
        """Write the Verilog and, beside it, its configuration.

        Parameters
        ----------
        path : path-like
            Of the Verilog; the configuration has the ending ``.json``.
        fusesoc : bool
            Also write a FuseSoC core file, with the ending ``.core``.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        UserError
            If one cannot be written, or is there and was not written by pyhw.
        """
        from pyhw.fusesoc import check_core, core_file
        from pyhw.hdl.config_file import config_to_json
        from pyhw.inputs import check_output

        file = Path(path)
        beside, core = file.with_suffix(".json"), file.with_suffix(".core")
        check_output(file)
        check_output(beside)
        _only_over_a_configuration(beside)
        if fusesoc:
            check_output(core)
            check_core(core, file)
        texts = {file: self.verilog, beside: config_to_json(self.config)}
        if fusesoc:
            texts[core] = core_file(file.name)
        for one, text in texts.items():
            with writing(one):
                write_atomically(one, text)
        return list(texts)

    def save_asic(self, folder: str | os.PathLike[str], *, period_ns: float = 20.0) -> "AsicOutput":
        """Write a new folder for silicon: memories behind a wrapper, SDC, LibreLane.

        Parameters
        ----------
        folder : path-like
        period_ns : float
            Clock period, nanoseconds.

        Returns
        -------
        AsicOutput
            The files and memories.

        Raises
        ------
        UserError
            If the folder is there, or something of it cannot be written.
        """
        from pyhw.asic import write_asic

        return write_asic(self.config, Path(folder), interface=self.interface,
                          divisor=self.divisor, period_ns=period_ns)

    @property
    def lanes(self) -> dict[str, int]:
        """Lanes of every engine, all groups together."""
        return {name: self.config.groups * engine.rows * engine.lanes
                for name, engine in self.config.engines.items()}

    def __repr__(self) -> str:
        lanes = ", ".join(f"{count:,} {name} lanes" for name, count in self.lanes.items())
        return (f"Design {self.config.name}: {lanes}, interface {self.interface}, configuration "
                f"{self.config.hash.hex()}")

    def _repr_html_(self) -> str:
        rows = [("engine", "lanes"), *((name, f"{n:,}") for name, n in self.lanes.items())]
        return html_table(repr(self).partition(":")[0] + f", interface {self.interface}", rows)


def read_design(path: str | os.PathLike[str]) -> Design:
    """Read Verilog that `Design.save` wrote, with the configuration beside it.

    Raises
    ------
    UserError
        If one of the two is missing, or they do not belong together.
    """
    from pyhw.configure import read_config
    from pyhw.verilog import first_line, interface_of

    file = Path(path)
    beside = file.with_suffix(".json")
    if not beside.exists():
        raise UserError(f"{file} needs its configuration {beside}, which pyhw generate writes "
                        "beside it")
    config = read_config(beside)
    text = read_file(file, lambda path: path.read_text("utf-8", "replace"))
    if not text.startswith(first_line(config)):
        raise UserError(f"{file} is not the Verilog of the configuration {beside}: write both "
                        "again with pyhw generate")
    return Design(config, interface_of(text), None, lambda: text)


def _only_over_a_configuration(path: Path) -> None:
    """Refuse to overwrite a file that the user did not name and pyhw did not write."""
    from pyhw.configure import read_config

    if path.exists():
        try:
            read_config(path)
        except UserError:
            raise UserError(f"{path} is there already and is no configuration of this pyhw: move "
                            "it, or choose another --out") from None
