"""Modules that occur many times are elaborated once.

Elaboration of a large array is dominated by parts that are all alike: rows, result lanes,
memory banks. When a design is elaborated for output with a `Library` as its platform, `place`
puts an instance of a named module in the place of such a part and keeps the part itself for
`Library.parts`, which are converted one by one. In simulation the part stands there as it is.
"""

from amaranth.hdl import (
    ClockSignal,
    Elaboratable,
    Instance,
    Module,
    ResetInserter,
    ResetSignal,
    Shape,
    Value,
)
from amaranth.lib import wiring

__all__ = ["Library", "WrappedLibrary", "place"]


def place(platform, component, *key, reset=None):
    """Return what to add as a submodule for a part that may occur many times.

    Parameters
    ----------
    platform : Library or None
        Platform of the `elaborate` in progress.
    component : wiring.Component
        The part; its state must clear itself within a few cycles, because a reset added from
        outside (`ResetInserter`) does not reach into it.
    key : hashable
        With the class, everything that tells apart parts of one design.
    reset : Signal, optional
        What resets the part, a register that is high after the domain's reset: in a design for
        output it takes the place of the domain's.
    """
    if isinstance(platform, Library):
        return platform.instance(component, key, reset)
    return component if reset is None else ResetInserter(reset)(component)


class Library:
    """The parts of one design, by class and key.

    Parameters
    ----------
    name : str
        Begins the names of the modules.
    """

    def __init__(self, name):
        self._name = name
        self._parts = {}
        self._done = 0

    def instance(self, component, key, reset=None):
        """Return an instance of the part's module, on the part's own port signals."""
        key = (type(component).__qualname__, *key)
        if key not in self._parts:
            self._parts[key] = (f"{self._name}_{key[0].lower()}{len(self._parts)}", component)
        elif component is not self._parts[key][1]:
            _silence(component)
        module, _ = self._parts[key]
        ports = {"i_clk": ClockSignal(), "i_rst": ResetSignal() if reset is None else reset}
        for name, (value, flow) in self.ports(component).items():
            ports[f"{'i' if flow is wiring.In else 'o'}_{name}"] = value
        return Instance(module, **ports)

    def get_memory(self, memory):
        """Elaborate a memory; one of zeros comes without contents (Amaranth's hook).

        Nothing relies on what a memory holds at first, and spelling out its zeros takes longer
        than all the rest of a large design.
        """
        instance = memory.elaborate(None)
        if not any(memory.init):
            memory.init._raw.clear()
        return instance

    @staticmethod
    def ports(component):
        """Return value and direction of every port signal of a component, by name."""
        return {"__".join(map(str, path)): (Value.cast(value), member.flow)
                for path, member, value in component.signature.flatten(component)}

    def parts(self):
        """Yield module name and component of every part, those found on the way included."""
        while self._done < len(self._parts):
            yield list(self._parts.values())[self._done]
            self._done += 1


def _silence(component):
    """Keep Amaranth from warning that a part and what it holds were never elaborated."""
    component._MustUse__silence = True
    for held in vars(component).values():
        if isinstance(held, Elaboratable):
            _silence(held)


class WrappedLibrary(Library):
    """A `Library` in which every memory is an instance of ``pyhw_ram``, for silicon.

    Its contract (one clock, a write port with enables and a synchronous read port) is in
    ``docs/asic.md``. A memory with several read ports is as many copies, written alike.

    Attributes
    ----------
    memories : dict of (int, int, int) to int
        Copies of each kind: width in bits, depth in words, bits that are written together.
    """

    def __init__(self, name):
        super().__init__(name)
        self.memories = {}

    def get_memory(self, memory):
        """Return a module of instances (Amaranth's hook).

        Raises
        ------
        ValueError
            If the memory has contents, or ports that ``pyhw_ram`` does not have.
        """
        width, depth = Shape.cast(memory.shape).width, memory.depth
        write, *others = memory.write_ports
        if (others or any(memory.init)
                or any(port.domain != write.domain or port.transparent_for
                       for port in memory.read_ports)):
            raise ValueError("a memory for silicon must have one write port, synchronous reads of "
                             "the same clock and no contents")
        enable, data = Value.cast(write.en), Value.cast(write.data)
        kind = (width, depth, width // len(enable))
        m = Module()
        for k, port in enumerate(memory.read_ports):
            self.memories[kind] = self.memories.get(kind, 0) + 1
            m.submodules[f"copy{k}"] = Instance(
                "pyhw_ram", p_WIDTH=width, p_DEPTH=depth, p_GRANULE=kind[2],
                p_ADDRESS=len(write.addr), i_clk=ClockSignal(write.domain),
                i_write_enable=enable, i_write_address=write.addr, i_write_data=data,
                i_read_enable=port.en, i_read_address=port.addr,
                o_read_data=Value.cast(port.data))
        return m
